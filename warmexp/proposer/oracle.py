"""The reference solution, corrupted at a set rate: a prior of known quality, for diagnosis only.

Its runs are labelled `oracle` everywhere and never stand on a front.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from warmexp.errors import check_choice, check_range
from warmexp.proposer.proposal import TAILS, Asked, Proposal, Proposer
from warmexp.rng import uniform

_PIECE = re.compile(r"\d+|[^\W\d]+|[^\w\s]|\s+")
_OPERATORS = "+-*/="


@dataclass
class OracleProposer(Proposer):
    """Each word, number and sign of the solution is replaced with probability `corruption` by another of its kind.

    A number moves by 1 to 9 (and stays ≥ 0), an operator becomes another operator, a word becomes another word of the same solution.
    `####` and white space are left alone, so the answer can still be extracted (and be wrong). corruption: in [0, 1].
    It knows no probabilities: its trust is 1.0 everywhere, also where it is wrong. tail: see proposal.py.
    """

    corruption: float = 0.0
    tail: str = "mask"
    oracle = True

    def __post_init__(self) -> None:
        check_range("proposer.corruption", self.corruption, 0, 1, "the share of the solution's words that is replaced")
        check_choice("proposer.tail", self.tail, TAILS)

    def identity(self) -> dict[str, Any]:
        return {"kind": "oracle", "corruption": self.corruption}

    def propose(self, questions: list[Asked], device: str, seed: int, progress) -> Iterator[tuple[str, Proposal]]:
        for question in questions:
            yield question.id, Proposal(self._corrupt(question, seed))

    def _corrupt(self, question: Asked, seed: int) -> str:
        pieces = _PIECE.findall(question.solution)
        words = sorted({p for p in pieces if p.isalpha()})
        draws = uniform(seed, question.id, "corrupt", (len(pieces), 2))
        return "".join(_replace(p, u[1], words) if u[0] < self.corruption else p for p, u in zip(pieces, draws, strict=True))


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
