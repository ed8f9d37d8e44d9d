"""Eq. (11) with a bias that falls linearly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.errors import check_range
from warmexp.methods.remask.bernoulli import BernoulliRemask


@dataclass
class LinearRemask(BernoulliRemask):
    """b_k = bias - slope·k. The recovered constants, 0.5 and 0.0375, reach 0 at k ≈ 13 and -1 at k = 40."""

    slope: float = 0.0375

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("remask.slope", self.slope, 0, 10, "the fall of the bias per forward")

    def bias_at(self, visits: np.ndarray) -> np.ndarray:
        return self.bias - self.slope * visits.astype(float)
