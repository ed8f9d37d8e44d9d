"""Confidence-threshold decoding (Fast-dLLM, arXiv 2505.22618)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.reading import Reading
from warmexp.decode.strategy import Unmask
from warmexp.decode.view import View
from warmexp.errors import UserError, check_range


@dataclass
class Threshold(Unmask):
    """Commit every masked position of the block with confidence ≥ τ; the most confident one where none reaches it.

    tau: in (0, 1]; anything above 1 is never reached and gives one token per forward.
    temperature: ≥ 0; above 0 tokens are Gumbel samples of softmax(z/T) while confidence stays softmax(z).
    """

    tau: float = 0.9
    temperature: float = 0.0
    curve = "tau"
    symbols = {"tau": "τ"}

    def __post_init__(self) -> None:
        if isinstance(self.tau, bool) or not self.tau > 0:
            raise UserError(
                f"tau={self.tau} is not above 0: it is a confidence in (0, 1], or above 1 for one token per forward."
            )
        check_range("unmask.temperature", self.temperature, 0, 100, "the sampling temperature")

    def select(self, view: View, reading: Reading) -> np.ndarray:
        return view.masked & (reading.confidence >= self.tau)
