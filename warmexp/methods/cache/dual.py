"""Fast-dLLM's dual cache (arXiv 2505.22618)."""

from __future__ import annotations

from dataclasses import dataclass

from warmexp.decode.rows import Row
from warmexp.methods.cache.prefix import PrefixCache


@dataclass
class DualCache(PrefixCache):
    """As `prefix`, but what follows the block is kept too: the other forwards compute the block alone.

    A prior in the embeddings of later blocks is kept with them. When its weight changes (it fades, or it was for one forward), the row
    gets a full forward.
    """

    def end(self, row: Row) -> int:
        return row.end

    def outdated(self, row: Row) -> bool:
        return row.faded or super().outdated(row)
