"""Only the proposal's length reaches the canvas."""

from __future__ import annotations

import pytest

from warmexp.api import planned
from warmexp.decode.canvas import Question
from warmexp.errors import UserError
from warmexp.methods.init.length_hint import LengthHint

EOS = 9


def start(written: int, length: int = 12, slack: int = 2):
    proposal = tuple(range(1, written + 1)) + (EOS,) * (length - written)
    return LengthHint(slack=slack).start(Question("q", (1,), proposal, (), written), length, 0)


def test_end_of_text_behind_the_proposal_and_nothing_else():
    made = start(written=5)
    assert made.injected.tolist() == [False] * 7 + [True] * 5
    assert made.tokens[made.injected].tolist() == [EOS] * 5
    assert made.weight is None


def test_a_proposal_as_long_as_the_canvas_tells_nothing():
    assert not start(written=12).injected.any() and not start(written=11).injected.any()


def test_it_needs_to_know_where_the_proposal_ends():
    with pytest.raises(UserError, match=r"proposer\.tail=eos"):
        planned(["init=length_hint", "proposer=lab_weak", "task.limit=2"])
    assert planned(["init=length_hint", "proposer=lab_weak", "proposer.tail=eos", "task.limit=2"]).run_id
