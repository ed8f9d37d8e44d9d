"""A control: the canvas ends where the proposal ends, and nothing else of the proposal is used.

A warm start also tells the backbone how long the answer is, which saves forwards by itself. This init gives that away
and no content, so that the length's share of a saving can be read off (arXiv 2512.19004 has no such row).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.canvas import Question, Start
from warmexp.decode.strategy import Init
from warmexp.errors import check_range
from warmexp.methods.init.token_inject import slots


@dataclass
class LengthHint(Init):
    """x_i = end-of-text for i ≥ n + slack, else M; n is the length of the proposal's text in the backbone's tokens.

    slack: positions left free behind the proposal's end, ≥ 0. Needs `proposer.tail=eos`, which is where the end-of-text
    comes from.
    """

    slack: int = 8
    reads_proposal = True
    injects = True
    needs_tail = "eos"

    def __post_init__(self) -> None:
        check_range("init.slack", self.slack, 0, 2**20, "the number of positions left free behind the proposal's end")

    def start(self, question: Question, length: int, seed: int) -> Start:
        tokens, covered = slots(question, length)
        position = np.arange(length)
        ending = (position >= question.written + self.slack) & (position < covered)
        return Start(tokens, ending)
