"""dKV-Cache-Decode (arXiv 2505.15781): a token's keys and values are kept one forward after it has been decoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.strategy import Cache
from warmexp.decode.view import Span, View
from warmexp.errors import check_range


@dataclass
class DelayedCache(Cache):
    """The first two forwards of a block, and every R-th counted from its first, compute everything. The others compute
    what is masked, anywhere in the canvas, and what the forward before has committed: a token's states change most when
    it is decoded, so what is kept of it is what was computed once it stood.

    refresh: R ≥ 1; 1, as in the released code's default, is no cache; 4 and 16 in its examples.
    Shifted backbones compute also what stands left of the window's masks, whose states predict them.
    """

    refresh: int = 4
    keeps = True
    symbols = {"refresh": "R"}

    def __post_init__(self) -> None:
        check_range("cache.refresh", self.refresh, 1, 2**20, "forwards from one full one to the next")

    def plan(self, view: View) -> Span:
        full = (view.visits % self.refresh == 0) | (view.visits <= 1)
        if full.all():
            return Span.of(0, view.row_length, len(view.rows))
        fresh = view.whole("committed_at") >= view.forwards[:, None] - 1
        chosen = view.row_of(view.whole("masked") | fresh, prompt=False) | beside(view)
        return Span.of_set(view, chosen | (full[:, None] & view.row_of(np.ones_like(fresh), prompt=True)))


def beside(view: View) -> np.ndarray:
    """[n, T] bool, prompt first, the positions whose states predict what can be committed or revised."""
    row, column = view.at
    found = np.zeros((len(view.rows), int(view.row_length.max())), dtype=bool)
    found[row, (view.first[row] + column) - view.shift] = True
    return found
