"""Soft priors that are weighted position by position: equal to the slow decoder's, with every cache."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.decode.cases import EXPONENTIAL, FREEZING, FROZEN, LINEAR, SOFT, WINDOWS, cases, check, facts, profile, some

PLAIN = {"by_trust": False, "by_entropy": False, "norm": "none"}
CASES = cases(inits=SOFT, remasks=st.one_of(st.just(FROZEN), LINEAR, EXPONENTIAL), most=3)


def outcome(case) -> list[dict]:
    return [facts(done) for done in case.decode()]


@some(80)
@given(case=CASES)
def test_it_equals_the_reference(case):
    check(case)


@some(60)
@given(case=CASES, cache=st.one_of(WINDOWS, FREEZING))
def test_with_a_cache(case, cache):
    check(case.but(cache=cache))


@some(20)
@given(case=CASES)
def test_full_trust_is_no_weight(case):
    case = case.but(questions=tuple(replace(q, trust=(1.0,) * len(q.proposal)) for q in case.questions))
    assert outcome(case.but(init=case.init | {"by_trust": True})) == outcome(
        case.but(init=case.init | {"by_trust": False})
    )


@some(20)
@given(case=cases(inits=SOFT, remasks=st.just(FROZEN), most=3))
def test_no_trust_is_no_prior(case):
    doubted = tuple(replace(q, trust=(0.0,) * len(q.proposal)) for q in case.questions)
    assert outcome(case.but(questions=doubted, init=case.init | {"by_trust": True})) == outcome(
        case.but(init={"name": "mask"})
    )


@pytest.mark.slow
def test_examples_reach_what_matters():
    """Each option decides something somewhere."""
    seen: Counter[str] = Counter()

    @profile(60)
    @given(case=CASES)
    def collect(case):
        for option, value in {"by_trust": True, "by_entropy": True, "norm": "match"}.items():
            on, off = (
                case.but(init=case.init | PLAIN | {"lam": 1.0, "p": 0.0, option: v}) for v in (value, PLAIN[option])
            )
            seen[option] += outcome(on) != outcome(off)

    collect()
    assert all(seen[option] >= 3 for option in PLAIN), seen
