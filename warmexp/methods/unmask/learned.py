"""A learned unmasking policy: a small transformer over a window's confidences says which tokens are right (after
arXiv 2512.09106)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from warmexp.decode.reading import Reading, Word, normalised_entropy, ranks, top
from warmexp.decode.view import View
from warmexp.methods.unmask.policy import SHIPPED, features, read_policy
from warmexp.methods.unmask.threshold import Threshold


@dataclass
class Learned(Threshold):
    """Commit every masked position with P_i ≥ τ, and always the one where it is largest. P is what the policy says of
    the window: which positions are masked, and confidence, runner-up and entropy at each.

    Published is a policy that draws what to commit from its own probabilities and is trained by reinforcement on right
    answers in few forwards (its weights are not public). This one is trained to foresee: P_i is the probability that
    the token proposed at i is the one that a careful decoding puts there in the end. So one policy has a whole curve, τ
    of P, and needs no draw. It sees no token and no text, only probabilities, so that any backbone can be beside it;
    one that was trained beside the same backbone is better (docs/zoo.md).

    weights: a safetensors file of `python -m warmexp.train_policy`, or `lab:policy` or `lab:long_policy`, which are
    shipped. Its content is part of a run's identity, and its path is not. tau: of P; above 1 one token per forward.
    temperature: as in unmask=threshold.
    """

    weights: str = SHIPPED
    reads_logits = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.policy = read_policy(self.weights)

    def identity(self) -> dict[str, Any]:
        return super().identity() | {"weights": self.policy.sha256}

    def measure(self, view: View, word: Word) -> Mapping[str, Tensor]:
        return {"policy_second": top(word.logits, 2)[0][:, 1], "policy_entropy": normalised_entropy(word.logits)}

    def right(self, view: View, reading: Reading) -> np.ndarray:
        """[n, W] float64, P."""
        second, entropy = reading.measured["policy_second"], reading.measured["policy_entropy"]
        return self.policy.right(features(view.masked, reading.confidence, second, entropy))

    def select(self, view: View, reading: Reading) -> np.ndarray:
        right = np.where(view.masked, self.right(view, reading), -1.0)
        return view.masked & ((right >= self.tau) | (ranks(-right) == 0))
