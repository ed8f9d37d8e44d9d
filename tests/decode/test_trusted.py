"""Priors that are trusted as far as they deserve: verification before the first iteration, agreement in all of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from unittest.mock import patch

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.decode.cases import (
    AGREEMENT,
    CLEAR,
    COLD,
    FROZEN,
    LINEAR,
    VERIFIED,
    WINDOWS,
    cases,
    check,
    facts,
    profile,
    some,
)
from tests.reference.decoder import Answer
from warmexp.methods.unmask.agreement import Agreement

CASES = cases(inits=VERIFIED, unmasks=AGREEMENT, remasks=st.one_of(st.just(FROZEN), LINEAR), most=3)
COLD_PRIOR = {"name": "token_inject", "rho": 0.0}


def kept(answer: Answer) -> int:
    """Tokens that passed and were not revoked later."""
    return answer.source.count("injected") + sum(event[3] == "injected" for event in answer.revocations)


@some(70)
@given(case=cases(inits=VERIFIED, remasks=st.one_of(st.just(FROZEN), LINEAR), most=3))
def test_verification_equals_the_reference(case):
    check(case)


@some(60)
@given(case=cases(inits=VERIFIED, remasks=st.just(FROZEN), most=3))
def test_a_shadow_is_a_masked_query(case):
    """Where the row's own states cannot have seen the hidden token (one layer), it is the forward with that token
    masked."""
    check(case.but(init=case.init | {"score": "shadow"}, model=case.model | {"n_layers": 1}))


@some(40)
@given(case=cases(inits=VERIFIED, remasks=st.just(FROZEN), most=3), cache=WINDOWS)
def test_verification_before_a_cache(case, cache):
    check(case.but(cache=cache))


@some(60)
@given(case=cases(inits=st.sampled_from([COLD_PRIOR, {"name": "token_inject", "rho": 0.5}]), unmasks=AGREEMENT, most=3))
def test_agreement_equals_the_reference(case):
    check(case)


@some(20)
@given(
    case=CASES.flatmap(lambda case: st.sampled_from([case, case.but(init=case.init | {"score": "shadow"})])),
    shuffle=st.randoms(use_true_random=False),
)
def test_neighbours_do_not_matter(case, shuffle):
    together = {done.id: facts(done) for done in case.decode()}
    order = list(case.questions)
    shuffle.shuffle(order)
    assert {q.id: facts(case.decode((q,))[0]) for q in order} == together


def test_examples_keep_some_and_lose_some():
    """The random cases are not all alike: proposals kept whole, in part and not at all; and agreement that decides."""
    seen: Counter[str] = Counter()

    @profile(60)
    @given(case=CASES)
    def verify(case):
        for question in case.questions:
            answer = case.reference(question)
            if question.proposal:
                seen.update(["whole" if kept(answer) == len(question.proposal) else "part" if kept(answer) else "none"])
            seen.update("unclear" for step in answer.forwards if step.margin <= CLEAR)

    @profile(60)
    @given(case=cases(inits=st.just(COLD_PRIOR), unmasks=AGREEMENT, remasks=st.just(FROZEN), most=3))
    def agree(case):
        threshold = case.but(
            unmask={"name": "threshold", "tau": case.unmask["tau"], "temperature": case.unmask["temperature"]}
        )
        seen.update("agreed" for q in case.questions if facts(threshold.reference(q)) != facts(case.reference(q)))

    verify()
    agree()
    assert all(seen[kind] >= 3 for kind in ("whole", "part", "none", "agreed")), seen
    assert seen["unclear"] <= 5, seen


@some(30)
@given(case=cases(inits=VERIFIED, remasks=st.just(FROZEN), most=3))
def test_a_rejected_proposal_is_a_cold_start_and_the_price_of_asking(case):
    """An author who gives every token 1 in 10,000 is never believed: what remains of the proposal is the forwards that
    read it."""
    case = case.but(unmask=case.unmask | {"temperature": 0.0})
    doubted = tuple(replace(q, trust=tuple(1e-4 for _ in q.proposal)) for q in case.questions)
    init = case.init | {"theta": 0.9999, "weight": 1.0, "whole": 0.0}
    for one, cold in zip(case.but(init=init).decode(doubted), case.but(init=COLD).decode(), strict=True):
        question = next(q for q in case.questions if q.id == one.id)
        price = 0 if not question.proposal else 1 if init["score"] == "visible" else 2
        assert one.ids == cold.ids and one.cost.nfe == cold.cost.nfe + price
        assert list(one.commit_iteration) == [n + price for n in cold.commit_iteration]


@some(30)
@given(
    case=cases(unmasks=AGREEMENT, inits=st.just(COLD_PRIOR), remasks=st.just(FROZEN), most=3),
    pick=st.randoms(use_true_random=False),
)
def test_a_prior_that_the_backbone_never_proposes_costs_no_forward(case, pick):
    """The same tokens at the same forwards as threshold decoding, whatever else the proposal says."""
    case = case.but(unmask=case.unmask | {"temperature": 0.0})
    said: dict[tuple[str, int], set[int]] = {}
    original = Agreement.select

    def select(policy, block, reading):
        for row, question in enumerate(block.questions):
            for position, token in zip(block.positions[row].tolist(), reading.token[row].tolist(), strict=True):
                said.setdefault((question, position), set()).add(token)
        return original(policy, block, reading)

    empty = tuple(replace(q, proposal=(), trust=()) for q in case.questions)
    with patch.object(Agreement, "select", select):
        cold = case.decode(empty)
    unsaid = {q.id: [sorted(set(range(case.mask_id)) - said[q.id, i]) for i in range(case.canvas)] for q in empty}
    assume(all(all(choices) for choices in unsaid.values()))
    wrong = tuple(replace(q, proposal=tuple(pick.choice(choices) for choices in unsaid[q.id])) for q in empty)
    assert [facts(done) for done in case.decode(wrong)] == [facts(done) for done in cold]
