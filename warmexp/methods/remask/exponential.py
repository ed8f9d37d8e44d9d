"""Eq. (11)'s alternative that the recovered code leaves in: a bias that falls exponentially between the same end
points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.errors import check_range
from warmexp.methods.remask.bernoulli import BernoulliRemask


@dataclass
class ExponentialRemask(BernoulliRemask):
    """b_k = (bias - floor)·base^(k / span) + floor. The recovered form is 2.5·0.4^(k/40) - 2: +0.5 at k = 0, -1 at k =
    40."""

    floor: float = -2.0
    base: float = 0.4
    span: float = 40.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("remask.floor", self.floor, -10, 1, "the bias that is approached")
        check_range(
            "remask.base",
            self.base,
            0,
            1,
            "the share of the way to the floor that is left after `span` forwards",
            open_low=True,
        )
        check_range("remask.span", self.span, 0, 10**6, "a number of forwards", open_low=True)

    def bias_at(self, visits: np.ndarray) -> np.ndarray:
        return (self.bias - self.floor) * self.base ** (visits / self.span) + self.floor
