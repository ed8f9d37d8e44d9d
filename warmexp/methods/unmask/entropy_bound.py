"""EB sampling: as many tokens as their joint dependence allows, bounded by their entropies (arXiv 2505.24857)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.reading import Reading, ranks
from warmexp.decode.view import View
from warmexp.errors import check_range
from warmexp.methods.unmask.entropy import ByEntropy


@dataclass
class EntropyBound(ByEntropy):
    """Sort masked positions by entropy; commit the largest k with Σ_{i≤k} H_i - max_{i≤k} H_i ≤ γ, at least one.

    In this order the largest is the last: the sum of all but the last may be at most γ. (A released port takes the
    largest over the batch, which lets neighbours decide; here every row is its own.)

    gamma: γ ≥ 0, nats; 0.001 to 0.1 as published; 0 is one token per forward (the least uncertain). temperature: as in
    unmask=threshold.
    """

    gamma: float = 0.1
    temperature: float = 0.0
    curve = "gamma"
    symbols = {"gamma": "γ"}

    def __post_init__(self) -> None:
        check_range("unmask.gamma", self.gamma, 0, 1000, "a sum of entropies in nats")
        check_range("unmask.temperature", self.temperature, 0, 100, "the sampling temperature")

    def select(self, view: View, reading: Reading) -> np.ndarray:
        nats = self.nats(view, reading)
        order = np.sort(nats, axis=1)
        before = np.concatenate((np.zeros((len(order), 1)), order.cumsum(1)[:, :-1]), 1)
        return view.masked & (ranks(nats) < (before <= self.gamma).sum(1, keepdims=True))
