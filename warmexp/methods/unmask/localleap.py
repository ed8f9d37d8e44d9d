"""LocalLeap: near a token that is certain, less certainty is enough (arXiv 2510.07081)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.reading import Reading
from warmexp.decode.view import View
from warmexp.errors import check_range
from warmexp.methods.unmask.threshold import Threshold


@dataclass
class LocalLeap(Threshold):
    """Anchors A are the masked positions with c ≥ τ; commit A and every masked j with c_j ≥ `relaxed` and an anchor at
    most `radius` away.

    Distances are inside the window. Without an anchor the most confident position is committed. radius=0 is
    unmask=threshold.

    tau: τ of an anchor, 0.9 as published. relaxed: 0.75. radius: 4 positions. temperature: as in unmask=threshold.
    """

    relaxed: float = 0.75
    radius: int = 4
    symbols = Threshold.symbols | {"relaxed": "relaxed", "radius": "r"}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("unmask.relaxed", self.relaxed, 0, 1, "the confidence that is enough near an anchor")
        check_range("unmask.radius", self.radius, 0, 2**20, "a number of positions")

    def select(self, view: View, reading: Reading) -> np.ndarray:
        anchors = super().select(view, reading)
        around = np.pad(anchors, ((0, 0), (self.radius, self.radius)))
        near = np.lib.stride_tricks.sliding_window_view(around, 2 * self.radius + 1, axis=1).any(2)
        return anchors | (view.masked & near & (reading.confidence >= self.relaxed))
