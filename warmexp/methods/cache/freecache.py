"""FreeCache (FlashDLM, arXiv 2505.21467): a finished block is never computed again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from warmexp.decode.columns import Column
from warmexp.decode.edit import Edit
from warmexp.decode.reading import Reading
from warmexp.decode.strategy import Cache
from warmexp.decode.view import Span, View


@dataclass
class FreeCache(Cache):
    """One full forward per question; after it the block and what follows it are computed, and what stands before stays
    as it was.

    settle: let a block's first forward compute the block before it once more, so that what stays are the keys and
        values of its tokens. Without it, as in the released code, they are those of the block's last forward, in which
        its last tokens still were masks.
    Shifted backbones compute one position more, on the left.
    """

    settle: bool = True
    keeps = True

    # The response position at which the window of the last forward began; -1 before the first.
    columns = {"read_in": Column("row", "int64", -1)}

    def plan(self, view: View) -> Span:
        before = view.recall("read_in")
        start = view.first - view.shift + (before - view.start if self.settle else 0)
        return Span.of(np.where(before < 0, 0, start), view.row_length, len(view.rows))

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        return {"read_in": view.start}
