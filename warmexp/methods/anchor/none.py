"""Slot for slot: a proposal's token belongs to the position that the proposal gave it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from warmexp.decode.state import Question


@dataclass
class NoAnchor:
    """Moves nothing."""

    moves = False
    verify = 0

    def moved(self, question: Question, decoded: Sequence[int], block_length: int) -> Question:
        return question
