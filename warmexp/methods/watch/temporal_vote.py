"""Temporal self-consistency: the answer is read out at every forward, and the last is not always the best (arXiv
2508.09138)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from warmexp.decode.sight import Sight
from warmexp.decode.strategy import Texts, Watch
from warmexp.decode.view import View
from warmexp.errors import check_choice, check_range
from warmexp.methods.watch.prophet import KINDS

WEIGHTS = ("fixed", "linear", "exp")


@dataclass
class TemporalVote(Watch):
    """At each of K forwards the answer in what it proposes (visible tokens, and the most probable one at every mask)
    gets a vote of weight 1 (`fixed`), (k + 1)/K (`linear`) or e^(α·k/K) (`exp`); the most votes win, the earliest on a
    tie.

    Nothing changes in decoding. The vote is `watched.answer` in a record and `accuracy_watched` in the summary.
    Forwards that find no answer have no vote.

    weights: exp, and alpha: α = 11, as in the released script. kind: which of the task's filters reads the answer.
    """

    weights: str = "exp"
    alpha: float = 11.0
    kind: str = "flexible"
    looks = True
    symbols = {"alpha": "α"}

    def __post_init__(self) -> None:
        check_choice("watch.weights", self.weights, WEIGHTS)
        check_range("watch.alpha", self.alpha, 0, 700, "the growth of a vote's logarithm over the forwards")
        check_choice("watch.kind", self.kind, KINDS)

    def bind(self, texts: Texts, length: int) -> None:
        self._texts = texts

    def note(self, view: View, sight: Sight) -> list[Any]:
        found = [self._texts.answer(token.tolist(), self.kind) for token in sight.token]
        return [None if one is None else one[0] for one in found]

    def conclude(self, notes: Sequence[Any]) -> str | None:
        votes: dict[str, float] = {}
        for k, answer in enumerate(notes):
            if answer is not None:
                votes[answer] = votes.get(answer, 0.0) + self.weight(k, len(notes))
        return max(votes, key=lambda answer: votes[answer]) if votes else None

    def weight(self, k: int, count: int) -> float:
        """Of the k-th vote of `count`, from 0."""
        if self.weights == "fixed":
            return 1.0
        return (k + 1) / count if self.weights == "linear" else math.exp(self.alpha * k / count)
