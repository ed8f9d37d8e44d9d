"""The reference solution, corrupted at a set rate: a prior of known quality, for diagnosis only.

Its runs are labelled `oracle` everywhere and never stand on a front.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from warmexp.errors import UserError, check_choice, check_range
from warmexp.proposers.proposal import TAILS, Asked, Proposal, Proposer
from warmexp.rng import uniform

_PIECE = re.compile(r"\d+|[^\W\d]+|[^\w\s]|\s+")
_OPERATORS = "+-*/="
_POOL = 1_000
KINDS = ("tokens", "numbers", "step", "swap", "preface")
_PREFACE = "So we get: "


@dataclass
class OracleProposer(Proposer):
    """The reference solution, made worse at a rate of `corruption` in [0, 1].

    kind: what a corruption is.
        tokens: each word, number and sign is replaced with probability `corruption` by another of its kind. A number
            moves by 1 to 9 (and stays ≥ 0), an operator becomes another operator, a word another word of the same
            solution.
        numbers: the same, of numbers only.
        step: with probability `corruption` per question, one of its lines but the last is left out (a solution of one
        line stays).
        swap: with probability `corruption` per question, the whole is the solution of one of the task's first 1,000
        training questions.
        preface: with probability `corruption` per question, a few words stand before it: everything is right, and in
        the wrong slot.
    `####` and white space are left alone, so the answer can still be extracted (and be wrong). It knows no
    probabilities: its trust is 1.0 everywhere, also where it is wrong. tail: see proposal.py.
    """

    corruption: float = 0.0
    kind: str = "tokens"
    tail: str = "mask"
    oracle = True

    def __post_init__(self) -> None:
        check_range("proposer.corruption", self.corruption, 0, 1, "the share that is made worse")
        check_choice("proposer.kind", self.kind, KINDS)
        check_choice("proposer.tail", self.tail, TAILS)
        self._others: list[str] = []

    def bind(self, backbone, canvas_length: int, task) -> None:
        if self.kind == "swap":
            training = getattr(task, "training", None)
            self._others = [q.solution for q in training(_POOL)] if training else []
            if not self._others:
                raise UserError(
                    "proposer.kind=swap needs a task with training questions: choose task=lab or task=gsm8k, or"
                    " another kind."
                )

    def identity(self) -> dict[str, Any]:
        return {
            "kind": "oracle",
            "corruption": self.corruption,
            **({} if self.kind == "tokens" else {"corrupts": self.kind}),
        }

    def propose(self, questions: list[Asked], device: str, seed: int, progress) -> Iterator[tuple[str, Proposal]]:
        for question in questions:
            yield question.id, Proposal(self._corrupt(question, seed))

    def _corrupt(self, question: Asked, seed: int) -> str:
        if self.kind in ("tokens", "numbers"):
            return self._replaced(question, seed)
        hit, which = uniform(seed, question.id, f"corrupt-{self.kind}", 2)
        if hit >= self.corruption:
            return question.solution
        if self.kind == "preface":
            return _PREFACE + question.solution.lstrip()
        if self.kind == "step":
            return _without_a_line(question.solution, which)
        return self._others[int(which * len(self._others))]

    def _replaced(self, question: Asked, seed: int) -> str:
        pieces = _PIECE.findall(question.solution)
        words = sorted({p for p in pieces if p.isalpha()})
        draws = uniform(seed, question.id, "corrupt", (len(pieces), 2))
        hits = [
            u[0] < self.corruption and (self.kind == "tokens" or p.isdecimal())
            for p, u in zip(pieces, draws, strict=True)
        ]
        return "".join(_replace(p, u[1], words) if hit else p for p, u, hit in zip(pieces, draws, hits, strict=True))


def _without_a_line(solution: str, u: float) -> str:
    lines = solution.split("\n")
    left_out = int(u * (len(lines) - 1))
    return "\n".join(line for i, line in enumerate(lines) if i != left_out or len(lines) < 2)


def _replace(piece: str, u: float, words: list[str]) -> str:
    if piece.isdecimal():
        step = 1 + int(u * 9)
        value = int(piece)
        return str(value - step if value >= step and int(u * 18) % 2 else value + step)
    if piece in _OPERATORS:
        others = _OPERATORS.replace(piece, "")
        return others[int(u * len(others))]
    if piece.isalpha() and len(words) > 1:
        others = [w for w in words if w != piece]
        return others[int(u * len(others))]
    return piece
