"""Entropy-threshold decoding, as dParallel (arXiv 2509.26488) and d3LLM (2601.07568) release it."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from warmexp.decode.reading import Reading, Word, entropy, ranks
from warmexp.decode.strategy import Unmask
from warmexp.decode.view import View
from warmexp.errors import check_range


class ByEntropy(Unmask, ABC):
    """Rules that look at the entropy of every position's distribution, untempered."""

    reads_logits = True

    def measure(self, view: View, word: Word) -> Mapping[str, Tensor]:
        return {"nats": entropy(word.logits)}

    def nats(self, view: View, reading: Reading) -> np.ndarray:
        """[n, W] float64, infinite where nothing may be committed."""
        return np.where(view.masked, reading.measured["nats"], np.inf)


@dataclass
class Entropy(ByEntropy):
    """Commit every masked position whose distribution has an entropy H ≤ θ, and always the one of lowest H.

    theta: θ ≥ 0, nats; 0.5 as published for the distilled models. temperature: as in unmask=threshold.
    """

    theta: float = 0.5
    temperature: float = 0.0
    curve = "theta"
    symbols = {"theta": "θ"}

    def __post_init__(self) -> None:
        check_range("unmask.theta", self.theta, 0, 100, "an entropy in nats")
        check_range("unmask.temperature", self.temperature, 0, 100, "the sampling temperature")

    def select(self, view: View, reading: Reading) -> np.ndarray:
        nats = self.nats(view, reading)
        return view.masked & ((nats <= self.theta) | (ranks(nats) == 0))
