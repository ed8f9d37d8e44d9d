"""Fast-dLLM's factor rule: the more tokens are committed at once, the surer the last of them has to be (arXiv
2505.22618)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.reading import Reading, ranks
from warmexp.decode.strategy import Unmask
from warmexp.decode.view import View
from warmexp.errors import check_range


@dataclass
class Factor(Unmask):
    """Commit the n most confident masked positions, n as large as c₍ₖ₎ ≥ 1 - f/(k+1) holds for every k = 2 … n; always
    the first.

    f: factor > 0. With f → 0 it is one token per forward; with f ≥ 2 a second token needs a third at most.
    released: as in the published code, which also commits the last masked position when it is the first to fail.
    temperature: as in unmask=threshold.
    """

    factor: float = 1.0
    released: bool = False
    temperature: float = 0.0
    curve = "factor"
    symbols = {"factor": "f"}

    def __post_init__(self) -> None:
        check_range("unmask.factor", self.factor, 0, 1e6, "the factor f of the thresholds 1 - f/(k+1)", open_low=True)
        check_range("unmask.temperature", self.temperature, 0, 100, "the sampling temperature")

    def select(self, view: View, reading: Reading) -> np.ndarray:
        order = -np.sort(-reading.confidence, axis=1)  # masked positions first: the others have -1
        k = np.arange(1, order.shape[1] + 1)
        masked = view.masked.sum(1, keepdims=True)
        passes = (order >= 1 - self.factor / (k + 1)) | (k == 1)
        count = (np.logical_and.accumulate(passes, 1) & (k <= masked)).sum(1, keepdims=True)
        if self.released:
            count = np.where(count == masked - 1, masked, count)
        return view.masked & (ranks(-reading.confidence) < count)
