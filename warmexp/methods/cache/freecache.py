"""FreeCache (FlashDLM, arXiv 2505.21467): a finished block is never computed again."""

from __future__ import annotations

from dataclasses import dataclass

from warmexp.decode.rows import Row, Span
from warmexp.decode.strategy import Cache


@dataclass
class FreeCache(Cache):
    """One full forward per question; after it the block and what follows it are computed, and what stands before stays as it was.

    settle: let a block's first forward compute the block before it once more, so that what stays are the keys and values of its tokens.
        Without it, as in the released code, they are those of the block's last forward, in which its last tokens still were masks.
    Shifted backbones compute one position more, on the left.
    """

    settle: bool = True
    keeps = True

    def span(self, row: Row) -> Span:
        if row.age == 0:
            return Span(0, row.length)
        return Span((row.previous if self.settle else row.start) - row.shifted, row.length)
