"""Hierarchical decoding: one commit in every gap, so that gaps halve (dInfer, arXiv 2510.08666)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.reading import Reading
from warmexp.decode.view import View
from warmexp.errors import check_range
from warmexp.methods.unmask.threshold import Threshold


@dataclass
class Hierarchy(Threshold):
    """Commit every masked position with c ≥ τ, and in every run of neighbouring masks the most confident one if its c >
    low.

    Commits are spread over the window, so an easy one takes a logarithmic number of forwards. Equal confidences of one
    run are committed together, as released. (dInfer compares with >, this with ≥, as everywhere here.)

    tau: as in unmask=threshold, 0.9 as published. low: 0.4; 1 is unmask=threshold. temperature: as there.
    """

    low: float = 0.4
    symbols = Threshold.symbols | {"low": "low"}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("unmask.low", self.low, 0, 1, "the confidence that the best of a run of masks needs")

    def select(self, view: View, reading: Reading) -> np.ndarray:
        masked, c = view.masked, reading.confidence
        begins = masked & ~np.pad(masked, ((0, 0), (1, 0)))[:, :-1]
        run = begins.cumsum(1) + np.arange(len(masked))[:, None] * (masked.shape[1] + 1)
        best = np.full(run.max() + 1, -np.inf)
        np.maximum.at(best, run[masked], c[masked])
        return super().select(view, reading) | (masked & (c == best[run]) & (c > self.low))
