"""LLaDA's low-confidence schedule: a quota of the most confident positions per forward (arXiv 2502.09992)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.reading import Reading, ranks
from warmexp.decode.strategy import Setup, Unmask
from warmexp.decode.view import View
from warmexp.errors import check_range


@dataclass
class TopK(Unmask):
    """Commit the ⌈m / (s - k)⌉ most confident of the block's m masked positions in its k-th forward (from 0) of s
    planned ones.

    On an untouched block that is LLaDA's published table (⌊m/s⌋, one more in the first m mod s forwards). It is
    recomputed from what is masked now, so injected tokens shrink it and revoked ones cannot exhaust it; past the plan
    one forward takes the rest.

    steps_per_block: s ≥ 1. temperature: as in unmask=threshold.
    """

    steps_per_block: int = 8
    temperature: float = 0.0
    curve = "steps_per_block"
    symbols = {"steps_per_block": "s"}

    def __post_init__(self) -> None:
        check_range(
            "unmask.steps_per_block", self.steps_per_block, 1, 10**6, "the number of forwards planned for a block"
        )
        check_range("unmask.temperature", self.temperature, 0, 100, "the sampling temperature")

    def replays(self, setup: Setup) -> bool:
        # With as many forwards planned as there are positions the quota is one, whatever the forward's number.
        return super().replays(setup) and self.steps_per_block >= setup.width

    def score(self, view: View, reading: Reading) -> np.ndarray:
        """[n, W] float64, the largest of which are committed; the least where nothing may be."""
        return reading.confidence

    def select(self, view: View, reading: Reading) -> np.ndarray:
        left = (self.steps_per_block - view.visits).clip(min=1)
        quota = -(-view.masked.sum(1) // left)
        return view.masked & (ranks(-self.score(view, reading)) < quota[:, None])
