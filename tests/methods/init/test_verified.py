"""What verification keeps, by hand; what it is refused with."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from warmexp.api import planned
from warmexp.decode.canvas import Question
from warmexp.errors import UserError
from warmexp.methods.init.verified import Verified


def kept(q: list[float], trust: list[float], **options) -> list[bool]:
    return Verified(**options).keep(np.array([q]), np.array([trust]), np.ones((1, len(q)), dtype=bool))[0].tolist()


def test_the_odds_of_two_witnesses_multiply():
    """0.9 and 0.8 are odds of 9 and 4: together 36, a probability of 36/37."""
    assert kept([0.9], [0.8], theta=36 / 37 - 1e-9, cap=0.9) == [True]
    assert kept([0.9], [0.8], theta=36 / 37 + 1e-9, cap=0.9) == [False]


def test_without_weight_or_with_an_even_author_the_backbone_decides_alone():
    for options in ({"weight": 0.0}, {"weight": 3.0, "cap": 0.5}):
        assert kept([0.71, 0.69], [0.99, 0.99], theta=0.7, **options) == [True, False]


def test_nobody_vouches_for_more_than_the_cap():
    """Trust 1, as of an author who says nothing, is worth what the cap is worth."""
    assert kept([0.7], [1.0], theta=0.98, cap=0.95) == kept([0.7], [0.95], theta=0.98, cap=0.95) == [False]
    assert kept([0.73], [1.0], theta=0.98, cap=0.95) == [True]  # odds 2.7 · 19 = 51.4, above 49


def test_what_follows_a_failure_goes_too_unless_each_stands_for_itself():
    scores = [0.99, 0.5, 0.99]
    assert kept(scores, [0.5] * 3) == [True, False, False]
    assert kept(scores, [0.5] * 3, keep_rule="each") == [True, False, True]


def test_certainty_has_finite_odds():
    assert kept([1.0, 0.0], [0.0, 1.0], weight=1.0, theta=0.5) == [True, False]
    assert math.isfinite(float(torch.tensor(0.0, dtype=torch.float64).logit(1e-6)))


def test_what_its_author_doubts_as_a_whole_is_not_read():
    """0.9 · 0.8 · 0.5 = 0.36, the end behind the text included and the rest of the tail not."""
    question = Question("q", (1,), (2, 3, 0, 0), (0.9, 0.8, 0.5, 0.5), written=2)
    for whole, asked in ((0.35, 4), (0.37, 0), (0.0, 4)):
        assert int(Verified(whole=whole).start(question, 6, 0).injected.sum()) == asked
    silent = Question("q", (1,), (2, 3, 0, 0), written=2)
    assert int(Verified(whole=1.0).start(silent, 6, 0).injected.sum()) == 4


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("whole=2", "init.whole"),
        ("theta=1", "init.theta"),
        ("weight=-1", "init.weight"),
        ("cap=0.4", "init.cap"),
        ("score=x", "visible"),
        ("keep_rule=x", "prefix"),
    ],
)
def test_refused(option, message):
    with pytest.raises(UserError, match=message):
        planned(["init=verified", f"init.{option}", "task.limit=2"])


def test_agreement_needs_a_proposal():
    with pytest.raises(UserError, match=r"init=token_inject rho=0"):
        planned(["init=mask", "unmask=agreement", "task.limit=2"])
    with pytest.raises(UserError, match=r"unmask.low=0.95"):
        planned(["init=token_inject", "rho=0", "unmask=agreement", "unmask.low=0.95", "task.limit=2"])
    assert planned(["init=token_inject", "rho=0", "unmask=agreement", "task.limit=2"]).run_id
