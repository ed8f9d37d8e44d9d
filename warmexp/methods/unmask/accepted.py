"""What a guide lets pass is committed (FlashDLM, arXiv 2505.21467; adaptive parallel decoding, 2506.00413)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.reading import Reading
from warmexp.decode.strategy import Unmask
from warmexp.decode.view import View
from warmexp.errors import UserError, check_range


@dataclass
class Accepted(Unmask):
    """Commit what evidence has let pass, from left to right, and every masked position with confidence ≥ τ besides.

    tau: in (0, 1], or above 1 for what has passed alone, as published; lower is this project's own, in which a backbone
    that is sure need not wait for its guide.
    temperature: as in unmask=threshold.
    """

    tau: float = 1.1
    temperature: float = 0.0
    reads_accepted = True
    curve = "tau"
    symbols = {"tau": "τ"}

    def __post_init__(self) -> None:
        if isinstance(self.tau, bool) or not self.tau > 0:
            raise UserError(
                f"tau={self.tau} is not above 0: it is a confidence in (0, 1], or above 1 for what a guide lets pass"
                " alone."
            )
        check_range("unmask.temperature", self.temperature, 0, 100, "the sampling temperature")

    def select(self, view: View, reading: Reading) -> np.ndarray:
        return view.masked & ((reading.measured["accepted"] > 0) | (reading.confidence >= self.tau))
