"""Certainty density: a token is worth more where much around it has been decided (d2Cache, arXiv 2509.23094)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.reading import Reading, ranks
from warmexp.decode.view import View
from warmexp.errors import check_range
from warmexp.methods.unmask.threshold import Threshold


@dataclass
class Certainty(Threshold):
    """Commit masked positions with d_i·c_i ≥ τ, and always the one where it is largest.

    d_i in [0, 1] is the mean of "decoded" around i with the weights exp(-(i-j)²/2σ²); left of the canvas stands the
    prompt, which is decoded, right of it the canvas's last position goes on. While nothing around is decided d is
    small, and a τ meant for a confidence is seldom reached: one token per forward, from left to right.

    sigma: σ in positions, 10 as published. tau: of the product. temperature: as in unmask=threshold.
    """

    sigma: float = 10.0
    symbols = Threshold.symbols | {"sigma": "σ"}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("unmask.sigma", self.sigma, 0, 2**20, "a distance in positions", open_low=True)

    def density(self, masked: np.ndarray) -> np.ndarray:
        """[n, L] float64 of [n, L] bool."""
        reach = int(np.ceil(4 * self.sigma))  # what is farther weighs less than 0.04 %
        weight = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * self.sigma**2))
        decided = (~masked).astype(float)
        padded = np.concatenate((np.ones((len(masked), reach)), decided, np.repeat(decided[:, -1:], reach, 1)), 1)
        return np.lib.stride_tricks.sliding_window_view(padded, len(weight), axis=1) @ (weight / weight.sum())

    def select(self, view: View, reading: Reading) -> np.ndarray:
        density = np.take_along_axis(self.density(view.whole("masked")), view.positions, 1)
        score = np.where(view.masked, density * reading.confidence, -1.0)
        return view.masked & ((score >= self.tau) | (ranks(-score) == 0))
