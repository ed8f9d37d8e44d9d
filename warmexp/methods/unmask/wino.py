"""WINO's wide drafts: many tokens at a low threshold, for a verifier to take back (arXiv 2507.18578)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.reading import Reading, ranks
from warmexp.decode.view import View
from warmexp.errors import check_range
from warmexp.methods.unmask.threshold import Threshold


@dataclass
class Wino(Threshold):
    """Commit masked i with c_i > τ₁, of m masks at most min(max(⌊share·m⌋, least), most) and then the best; the most
    confident one where none is above.

    With remask=wino this is the published method; alone it is a capped threshold.

    tau: τ₁, 0.6 as published. share: 0.7. least: 5. most: 20. temperature: 0 there.
    """

    tau: float = 0.6
    share: float = 0.7
    least: int = 5
    most: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("unmask.share", self.share, 0, 1, "the share of a window's masks that one forward may commit")
        check_range("unmask.least", self.least, 1, 2**20, "a number of tokens")
        check_range("unmask.most", self.most, self.least, 2**20, "a number of tokens, not below unmask.least")

    def select(self, view: View, reading: Reading) -> np.ndarray:
        above = view.masked & (reading.confidence > self.tau)
        count = (view.masked.sum(1) * self.share).astype(np.int64).clip(self.least, self.most)
        return above & (ranks(-reading.confidence) < count[:, None])
