"""A canvas that begins short and finds its own length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from warmexp.decode.canvas import Question
from warmexp.decode.edit import Edit
from warmexp.decode.reading import Reading
from warmexp.decode.view import View
from warmexp.errors import UserError, check_range
from warmexp.methods.length.fixed import FixedLength


@dataclass
class Growing(FixedLength):
    """What canvases of changing length have in common. canvas_length is the most positions one may have.

    initial: with how many it begins: a number, or `proposal`: as many as the proposal's text has, and `slack` more (a
    block where it has none).
    """

    initial: Any = 64
    slack: int = 0
    resizes = True
    symbols = {"initial": "L₀"}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.initial != "proposal":
            if isinstance(self.initial, bool) or not isinstance(self.initial, int):
                raise UserError(f"length.initial={self.initial} is neither a number of positions nor proposal.")
            check_range("length.initial", self.initial, 1, 2**20, "the number of positions at the start")
        check_range("length.slack", self.slack, 0, 2**20, "the number of positions behind a proposal's length")

    @property
    def reads_prior(self) -> bool:  # type: ignore[override]
        return self.initial == "proposal"

    def shown(self) -> str:
        more = f"+{self.slack}" if self.initial == "proposal" and self.slack else ""
        return f"L₀={self.initial}{more}"

    def begins(self, question: Question) -> int:
        first = self.initial
        if first == "proposal":
            first = question.written + self.slack if question.written else self.block_length
        return min(first, self.canvas_length)


def after(view: View, reading: Reading, edit: Edit) -> np.ndarray:
    """[n, L] int64, the canvases with what the forward commits."""
    ids = view.whole("ids").copy()
    i, j = edit.commit.nonzero()
    ids[i, view.positions[i, j]] = reading.token[i, j]
    return ids


def tail_confidence(token: np.ndarray, probability: np.ndarray, end_id: int, count: int) -> np.ndarray:
    """[n] float64: the probabilities of the end token at the last `count` positions where it is the most probable
    token, other positions passed over, summed and divided by `count`. token, probability: [n, L], token -1 where there
    is no position."""
    end = token == end_id
    last = end & (end[:, ::-1].cumsum(1)[:, ::-1] <= count)
    return np.where(last, probability, 0.0).sum(1) / count
