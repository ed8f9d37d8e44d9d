"""The most trusted tokens are injected."""

from __future__ import annotations

import pytest

from warmexp.api import planned
from warmexp.decode.state import Question
from warmexp.errors import UserError
from warmexp.init.trust_inject import TrustInject


def injected(trust: tuple[float, ...], tokens: int = 4, **options) -> list[int]:
    question = Question("q", (1,), tuple(range(5, 5 + tokens)), trust)
    made = TrustInject(**options).start(question, 6, 0)
    assert made.tokens.tolist()[:tokens] == list(question.proposal) and not made.soft.any()
    return made.injected.nonzero().flatten().tolist()


@pytest.mark.parametrize(("rho", "chosen"), [(0.0, []), (0.25, [1]), (0.5, [1, 3]), (0.51, [0, 1, 3]), (1.0, [0, 1, 2, 3])])
def test_the_most_trusted_share(rho, chosen):
    assert injected((0.5, 0.9, 0.1, 0.7), rho=rho) == chosen


def test_the_least_trust_and_the_tokens_before():
    trust = (0.9, 0.2, 0.9, 0.9)
    assert injected(trust, rho=1.0, floor=0.5) == [0, 2, 3]
    assert injected(trust, rho=1.0, floor=0.5, back=1) == [0, 3]
    assert injected(trust, rho=1.0, floor=0.5, back=2) == [0]


def test_ties_go_left_and_silence_is_trust():
    assert injected((0.5,) * 4, rho=0.5) == injected((), rho=0.5) == [0, 1]
    assert injected((), tokens=0, rho=1.0) == []


def test_refused():
    with pytest.raises(UserError, match=r"init\.floor"):
        planned(["init=trust_inject", "init.floor=2", "task.limit=2"])
