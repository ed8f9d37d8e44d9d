"""Token injection gated by the author's trust instead of a coin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.canvas import Question, Start
from warmexp.decode.strategy import Init
from warmexp.errors import check_choice, check_range
from warmexp.methods.init.token_inject import DIGITS, digits_masked, slots


@dataclass
class TrustInject(Init):
    """Eq. (5) of arXiv 2512.19004 with g_i = 1 for the ⌈ρn⌉ most trusted of n proposal tokens, and only where s_i ≥
    floor.

    s_i = min(t_{i-back}, …, t_i): an author that writes from left to right goes wrong from some token on, so a token is
    trusted no more than the few before it. Ties go to the first. Nothing is verified.

    rho: ρ in [0, 1], the share that may be injected. floor: the least trust, in [0, 1]. back: how many preceding tokens
    count, ≥ 0; 0 is the raw trust. An author who says nothing is trusted everywhere. digits: `keep`, or `mask`: of the
    chosen tokens, those that hold a digit are left to the backbone.
    """

    rho: float = 0.5
    floor: float = 0.0
    back: int = 0
    digits: str = "keep"
    symbols = {"rho": "ρ"}
    reads_proposal = True
    injects = True

    def __post_init__(self) -> None:
        check_range("rho", self.rho, 0, 1, "the share of a proposal's tokens that is injected")
        check_range("init.floor", self.floor, 0, 1, "the least trust of an injected token")
        check_range("init.back", self.back, 0, 2**20, "the number of preceding tokens that a token's trust depends on")
        check_choice("init.digits", self.digits, DIGITS)

    def start(self, question: Question, length: int, seed: int) -> Start:
        tokens, covered = slots(question, length)
        trust = np.array(question.trust[:covered] or (1.0,) * covered)
        smooth = np.array([trust[max(0, i - self.back) : i + 1].min() for i in range(covered)])
        chosen = (-smooth).argsort(kind="stable")[: -int(-self.rho * covered // 1)]
        gate = np.zeros(length, dtype=bool)
        gate[chosen] = True
        gate[:covered] &= smooth >= self.floor
        if self.digits == "mask":
            gate = digits_masked(gate, question)
        return Start(tokens, gate)
