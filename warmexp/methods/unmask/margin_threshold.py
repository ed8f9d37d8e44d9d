"""A threshold on the probability margin, as d2Cache (arXiv 2509.23094) puts one on any score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.reading import Reading, ranks
from warmexp.decode.view import View
from warmexp.errors import check_range
from warmexp.methods.unmask.topk_margin import ByMargin


@dataclass
class MarginThreshold(ByMargin):
    """Commit every masked position with p₁ - p₂ ≥ margin, and always the one where it is largest.

    A margin is at most the confidence, and at least 2c - 1: the same number is a stricter threshold here.

    margin: in [0, 1]. temperature: as in unmask=threshold.
    """

    margin: float = 0.9
    temperature: float = 0.0
    curve = "margin"
    symbols = {"margin": "margin"}

    def __post_init__(self) -> None:
        check_range("unmask.margin", self.margin, 0, 1, "a difference of two probabilities")
        check_range("unmask.temperature", self.temperature, 0, 100, "the sampling temperature")

    def select(self, view: View, reading: Reading) -> np.ndarray:
        margins = self.margins(view, reading)
        return view.masked & ((margins >= self.margin) | (ranks(-margins) == 0))
