"""The prior's word in the logits: equal to the slow decoder's, never against a token, and at no cost where it does not
win."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from unittest.mock import patch

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.decode.cases import BONUS, FROZEN, LINEAR, WINDOWS, cases, check, facts, profile, some
from warmexp.methods.unmask.threshold import Threshold

PRIORS = st.sampled_from([{"name": "token_inject", "rho": 0.0}, {"name": "token_inject", "rho": 0.4}])
CASES = cases(inits=PRIORS, unmasks=BONUS, remasks=st.one_of(st.just(FROZEN), LINEAR), most=3)


def threshold(case):
    """The same without the prior's word."""
    return case.but(unmask={"name": "threshold", "tau": case.unmask["tau"], "temperature": case.unmask["temperature"]})


@some(100)
@given(case=CASES)
def test_the_bonus_equals_the_reference(case):
    check(case)


@some(30)
@given(case=CASES, cache=WINDOWS)
def test_with_a_cache(case, cache):
    check(case.but(cache=cache))


@some(30)
@given(case=CASES)
def test_without_weight_it_is_a_threshold(case):
    silent = {"bonus": {"beta": 0.0}, "product": {"w": 1.0}}[case.unmask["name"]]
    assert [facts(done) for done in case.but(unmask=case.unmask | silent).decode()] == [
        facts(done) for done in threshold(case).decode()
    ]


@some(40)
@given(case=cases(inits=PRIORS, unmasks=BONUS, remasks=st.just(FROZEN), most=3), pick=st.randoms(use_true_random=False))
def test_a_prior_that_the_backbone_never_proposes_changes_nothing(case, pick):
    """wins=agreed: the same tokens at the same forwards as without a prior, whatever else the proposal says."""
    case = case.but(
        init={"name": "token_inject", "rho": 0.0}, unmask=case.unmask | {"wins": "agreed", "temperature": 0.0}
    )
    said: dict[tuple[str, int], set[int]] = {}
    original = Threshold.select

    def select(policy, block, reading):
        for row, question in enumerate(block.questions):
            for position, token in zip(block.positions[row].tolist(), reading.token[row].tolist(), strict=True):
                said.setdefault((question, position), set()).add(token)
        return original(policy, block, reading)

    with patch.object(Threshold, "select", select):
        cold = threshold(case).decode()
    unsaid = {
        q.id: [sorted(set(range(case.mask_id)) - said[q.id, i]) for i in range(case.canvas)] for q in case.questions
    }
    assume(all(all(choices) for choices in unsaid.values()))
    wrong = tuple(
        replace(q, proposal=tuple(pick.choice(choices) for choices in unsaid[q.id]), trust=()) for q in case.questions
    )
    assert [facts(done) for done in case.decode(wrong)] == [facts(done) for done in cold]


@pytest.mark.slow
def test_examples_reach_what_matters():
    """Priors that win by agreement, that win against the backbone, and that save a forward."""
    seen: Counter[str] = Counter()

    @profile(60)
    @given(case=CASES)
    def collect(case):
        for question in case.questions:
            with_prior, without = case.reference(question), threshold(case).reference(question)
            seen["sooner"] += with_prior.nfe < without.nfe
            seen["other tokens"] += with_prior.ids != without.ids
            agreed = case.but(unmask=case.unmask | {"wins": "agreed"}).reference(question)
            seen["replaced"] += case.unmask["wins"] == "most" and facts(agreed) != facts(with_prior)

    collect()
    assert all(seen[what] >= 3 for what in ("sooner", "other tokens", "replaced")), seen
