"""Fast-dLLM's dual cache (arXiv 2505.22618)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from warmexp.decode.columns import Column
from warmexp.decode.edit import Edit
from warmexp.decode.reading import Reading
from warmexp.decode.view import View
from warmexp.methods.cache.prefix import PrefixCache


@dataclass
class DualCache(PrefixCache):
    """As `prefix`, but what follows the block is kept too: the other forwards compute the block alone.

    A prior in the embeddings of later blocks is kept with them. When its weight changes (it fades, or it was for one
    forward), the row gets a full forward.
    """

    # fed: the shares of the prior's embeddings in the last full forward.
    columns = {**PrefixCache.columns, "fed": Column()}

    def end(self, view: View) -> np.ndarray:
        return view.last

    def outdated(self, view: View) -> np.ndarray:
        found = super().outdated(view)
        if view.mixture is None:
            return found
        changed = (view.whole("weight") > 0) & view.whole("masked") & (view.mixture != view.whole("fed"))
        right = np.arange(view.canvas.length) >= (view.start + view.canvas.width)[:, None]
        return found | (changed & right).any(1)

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        found = super().remember(view, reading, edit)
        return {**found, "fed": view.mixture} if view.full and view.mixture is not None else found
