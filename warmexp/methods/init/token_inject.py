"""Token injection (arXiv 2512.19004, Method 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.canvas import Question, Start
from warmexp.decode.strategy import Init
from warmexp.errors import check_choice, check_range
from warmexp.rng import uniform

DIGITS = ("keep", "mask")


def slots(question: Question, length: int) -> tuple[np.ndarray, int]:
    """The proposal slot for slot: [L] tokens (0 beyond its end) and how many positions it covers."""
    covered = min(len(question.proposal), length)
    tokens = np.zeros(length, dtype=np.int64)
    tokens[:covered] = question.proposal[:covered]
    return tokens, covered


def digits_masked(gate: np.ndarray, question: Question) -> np.ndarray:
    """[L] bool: the gate without tokens whose text holds a digit. A plan survives wrong numbers; numbers are to be
    worked out again."""
    if len(question.numeric) != len(question.proposal):
        raise ValueError(f"question {question.id} does not say which tokens of its proposal hold digits")
    numeric = np.zeros(len(gate), dtype=bool)
    numeric[: len(question.numeric)] = question.numeric[: len(gate)]
    return gate & ~numeric


@dataclass
class TokenInject(Init):
    """Eq. (5): g_i ~ Bernoulli(ρ); x_i = x̂_i where g_i = 1, else M. Injected tokens may be revoked by a remask policy.

    rho: injection rate in [0, 1]; 0 is the cold start. digits: `keep`, as published, or `mask`: tokens that hold a
    digit are not injected.
    """

    rho: float = 0.5
    digits: str = "keep"
    symbols = {"rho": "ρ"}
    reads_proposal = True
    injects = True

    def __post_init__(self) -> None:
        check_range("rho", self.rho, 0, 1, "the probability with which a proposal token is injected")
        check_choice("init.digits", self.digits, DIGITS)

    def start(self, question: Question, length: int, seed: int) -> Start:
        tokens, covered = slots(question, length)
        gate = uniform(seed, question.id, "inject", length) < self.rho
        gate[covered:] = False
        if self.digits == "mask":
            gate = digits_masked(gate, question)
        return Start(tokens, gate)
