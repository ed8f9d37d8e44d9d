"""The first-hitting sampler: one position per forward, drawn uniformly (arXiv 2409.02908)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.reading import Reading
from warmexp.decode.strategy import Setup, Unmask
from warmexp.decode.view import View
from warmexp.errors import check_range


@dataclass
class Random(Unmask):
    """Commit one masked position per forward, each as likely as any other, with a token drawn from its distribution.

    A masked diffusion process unmasks its positions one after the other in a uniform order; drawing that order is
    exact, and takes as many forwards as there are positions, which is the point of it: what parallel decoding saves is
    counted from here. Draws are float64 (float32 Gumbel numbers lower the temperature, as the paper shows).

    temperature: 1 is the model's own distribution; 0 commits the most probable token, in a random order.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_range("unmask.temperature", self.temperature, 0, 100, "the sampling temperature")

    def replays(self, setup: Setup) -> bool:
        return False

    def select(self, view: View, reading: Reading) -> np.ndarray:
        drawn = np.where(view.masked, view.uniform("unmask"), -1.0)
        chosen = np.zeros_like(view.masked)
        np.put_along_axis(chosen, drawn.argmax(1)[:, None], True, 1)
        return chosen & view.masked
