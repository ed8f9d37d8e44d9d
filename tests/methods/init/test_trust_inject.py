"""The most trusted tokens are injected."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from warmexp.api import planned, run_overrides
from warmexp.decode.canvas import Question
from warmexp.errors import UserError
from warmexp.io import read_lines
from warmexp.methods.init.token_inject import TokenInject
from warmexp.methods.init.trust_inject import TrustInject


def injected(trust: tuple[float, ...], tokens: int = 4, **options) -> list[int]:
    question = Question("q", (1,), tuple(range(5, 5 + tokens)), trust)
    made = TrustInject(**options).start(question, 6, 0)
    assert made.tokens.tolist()[:tokens] == list(question.proposal) and made.weight is None
    return made.injected.nonzero()[0].tolist()


@pytest.mark.parametrize(
    ("rho", "chosen"), [(0.0, []), (0.25, [1]), (0.5, [1, 3]), (0.51, [0, 1, 3]), (1.0, [0, 1, 2, 3])]
)
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


@pytest.mark.parametrize(
    "init", [TrustInject(rho=1.0, digits="mask"), TokenInject(rho=1.0, digits="mask")], ids=["trust", "coin"]
)
def test_digits_left_masked(init):
    question = Question("q", (1,), (5, 6, 7, 8), numeric=(False, True, True, False))
    assert init.start(question, 6, 0).injected.tolist() == [True, False, False, True, False, False]
    assert (
        init.start(replace(question, proposal=(5,) * 8, numeric=(True, False) * 4), 6, 0).injected.tolist()
        == [False, True] * 3
    )
    assert not init.start(Question("q", (1,)), 6, 0).injected.any()
    with pytest.raises(ValueError, match="does not say which tokens"):
        init.start(replace(question, numeric=()), 6, 0)


def test_a_run_tells_digits_apart(tmp_path):
    words = ["init=token_inject", "rho=1", "init.digits=mask", "proposer=oracle", "task.limit=3", f"outputs={tmp_path}"]
    _, folder = run_overrides(words)
    texts = json.loads((folder / "tokens.json").read_text())
    for record in read_lines(folder / "records.jsonl"):
        for token, source in zip(record["proposal"]["ids"], record["source"], strict=False):
            assert (source == "decoded") == any(c.isdigit() for c in texts[str(token)])


def test_refused():
    with pytest.raises(UserError, match=r"init\.digits=drop"):
        planned(["init=token_inject", "init.digits=drop", "task.limit=2"])
    with pytest.raises(UserError, match=r"init\.floor"):
        planned(["init=trust_inject", "init.floor=2", "task.limit=2"])
