"""KLASS: a token is ready when the model is sure of it and has stopped changing its mind (arXiv 2511.05664)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from warmexp.decode.columns import Column
from warmexp.decode.edit import Edit
from warmexp.decode.reading import Reading, Word
from warmexp.decode.view import View
from warmexp.errors import check_range
from warmexp.methods.unmask.threshold import Threshold

_TINY = 1e-12  # the published code adds it to probabilities before their logarithm


@dataclass
class Klass(Threshold):
    """Commit masked i with c_i ≥ τ and KL(p_t ‖ p_{t-1}) < ε at i in each of the last h forwards; the most confident
    where none is ready.

    Block-local: a window's positions are followed from its first forward on, when p_{t-1} is nothing (0 everywhere, as
    released; the first divergence is then larger than any sensible ε). The released code follows the whole sequence:
    later blocks begin with a history; with length.block_length = length.canvas_length this one does too.

    tau: 0.6 (LLaDA), 0.9 (Dream) on GSM8K. epsilon: ε ≥ 0, nats; 0.015 and 0.001 there. history: h ≥ 1; 2 as published.
    temperature: must be 0: the released code's divergences of Gumbel scores mean nothing.
    """

    tau: float = 0.6
    epsilon: float = 0.015
    history: int = 2
    symbols = Threshold.symbols | {"epsilon": "ε", "history": "h"}
    reads_logits = True
    columns = {
        "klass_before": Column(dtype="float32", vocabulary=True),  # p_{t-1}
        "klass_still": Column(dtype="int64", reset=True),  # for how many forwards the divergence has been below ε
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("unmask.epsilon", self.epsilon, 0, np.inf, "a divergence in nats")
        check_range("unmask.history", self.history, 1, 2**20, "a number of forwards")
        check_range(
            "unmask.temperature", self.temperature, 0, 0, "the sampling temperature, which KLASS has no use for"
        )

    def measure(self, view: View, word: Word) -> Mapping[str, Tensor]:
        now, before = word.logits.softmax(-1), view.recall("klass_before").double()
        moved = torch.cat(
            [
                (p * ((p + _TINY).log() - (q + _TINY).log())).sum(-1)
                for p, q in zip(now.split(64), before.split(64), strict=True)
            ]
        )
        return {"klass_moved": moved, "klass_before": now}

    def still(self, view: View, reading: Reading) -> np.ndarray:
        """[n, W] int64, the forwards in a row in which a position has hardly moved, this one included."""
        return np.where(reading.measured["klass_moved"] < self.epsilon, view.recall("klass_still") + 1, 0)

    def select(self, view: View, reading: Reading) -> np.ndarray:
        return super().select(view, reading) & (self.still(view, reading) >= self.history)

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        return {"klass_still": np.where(view.masked, self.still(view, reading), view.recall("klass_still"))}
