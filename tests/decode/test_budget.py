"""remask=budget: every decision as the slow decoder's, from both scores; and progress whatever anybody says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.decode.cases import BUDGET, CLEAR, FREEZING, INITS, VERIFIED, WINDOWS, cases, check, facts, profile, some
from tests.decode.test_contracts import recorded
from warmexp.decode.reading import Reading

BOTH = BUDGET.flatmap(lambda remask: st.sampled_from([remask, remask | {"score": "shadow"}]))
DENSE = st.fixed_dictionaries({"name": st.just("token_inject"), "rho": st.sampled_from([0.5, 0.8, 1.0])})
CHURNING = cases(
    inits=st.one_of(INITS, DENSE),
    unmasks=st.sampled_from([{"name": "threshold", "tau": 0.2}, {"name": "topk", "steps_per_block": 3}]),
    remasks=BOTH.map(lambda remask: remask | {"scope": "all", "threshold": 0.9}),
    grids=st.sampled_from([(8, 8), (16, 8), (12, 4)]),
)
CASES = cases(inits=st.one_of(INITS, DENSE, VERIFIED), remasks=BOTH)


def one_layer(case):
    """Where a leave-one-out score is the forward with that token masked."""
    return case.but(model=case.model | {"n_layers": 1})


@some(80)
@given(
    case=cases(inits=st.one_of(INITS, DENSE), remasks=BUDGET),
    cache=st.one_of(st.just({"name": "none"}), WINDOWS, FREEZING),
)
def test_scores_of_visible_tokens(case, cache):
    check(case.but(cache=cache))


@some(80)
@given(case=cases(inits=st.one_of(INITS, DENSE), remasks=BUDGET.map(lambda remask: remask | {"score": "shadow"})))
def test_scores_from_shadows(case):
    """In the same forward as the ordinary logits, priors in the embeddings included, at the price of the shadows."""
    check(one_layer(case))


def test_examples_reach_every_kind_of_decision():
    seen: Counter[str] = Counter()

    @profile(150)
    @given(case=st.one_of(CASES, cases(inits=DENSE, remasks=BOTH, grids=st.sampled_from([(8, 4), (8, 8)]))))
    def collect(case):
        case = one_layer(case)
        for question in case.questions:
            answer = case.reference(question)
            per_forward = Counter(event[0] for event in answer.revocations)
            seen.update(f"{case.remask['score']} revoked {event[3]}" for event in answer.revocations)
            seen.update("several at once" for times in per_forward.values() if times > 1)
            seen.update("a full block" for step in answer.forwards if step.block >= 0 and not step.masked)
            seen.update("unclear" for step in answer.forwards if step.margin <= CLEAR)

    collect()
    assert seen.pop("unclear", 0) <= 3
    wanted = [f"{score} revoked {source}" for score in ("visible", "shadow") for source in ("injected", "decoded")]
    # Examples depend a little on what else a process has imported, whose constants Hypothesis tries.
    assert all(seen[kind] for kind in [*wanted, "several at once", "a full block"]), seen


def adversary(salt: int):
    """Confidences and scores that are drawn anew in every forward, many of them 0 and 1."""
    draw = Random(salt)
    original = Reading.of.__func__

    def read(cls, view, *answer):
        reading = original(cls, view, *answer)
        values = np.array([[draw.choice([0.0, 1.0, draw.random()]) for _ in row] for row in view.positions.tolist()])
        confidence, visible = np.where(view.masked, values, -1.0), np.where(view.revocable, 1 - values, 1.0)
        return replace(reading, confidence=confidence, visible_probability=visible)

    return patch.object(Reading, "of", classmethod(read))


@pytest.mark.slow
def test_progress_whatever_the_scores_are():
    """Each forward leaves a mask less, a full block is looked at once, and no position is revoked more often than it
    may be (as often as it may be, some are); so the forwards are bounded."""
    seen: Counter[str] = Counter()

    @profile(40)
    @given(case=CHURNING, salt=st.integers(0, 99))
    def progress(case, salt):
        with adversary(salt):
            done, edits = recorded(case)
        for question, one in zip(case.questions, done, strict=True):
            mine = [edit for edit in edits if edit.question == question.id]
            assert all(edit.committed - edit.revoked >= 1 for edit in mine if edit.masked)
            assert sum(not edit.masked for edit in mine) <= case.canvas // case.block
            assert len(mine) <= case.canvas + case.canvas // case.block
            times = Counter(event[1] for event in one.revocations)
            assert max(times.values(), default=0) <= case.remask["most"]
            assert case.mask_id not in one.ids
            seen["to the cap"] += case.remask["most"] > 1 and case.remask["most"] in times.values()
            seen["looked at"] += sum(not edit.masked for edit in mine)

    progress()
    assert all(seen[kind] >= 3 for kind in ("to the cap", "looked at")), seen


@some(20)
@given(case=CASES, shuffle=st.randoms(use_true_random=False))
def test_neighbours_do_not_matter(case, shuffle):
    together = {done.id: facts(done) for done in case.decode()}
    order = list(case.questions)
    shuffle.shuffle(order)
    assert {q.id: facts(case.decode((q,))[0]) for q in order} == together


@pytest.mark.parametrize(("committed", "revoked"), [(0, []), (1, []), (2, [2]), (3, [2, 0]), (9, [2, 0])])
def test_fewer_than_were_committed_and_the_worst_first(committed, revoked):
    from types import SimpleNamespace

    from warmexp.methods.remask.budget import BudgetRemask

    flags = np.ones((1, 4), dtype=bool)
    undone = {"undone": np.array([[0, 2, 1, 0]])}
    view = SimpleNamespace(revocable=flags, masked=flags, recall=undone.get)
    reading = SimpleNamespace(visible_probability=np.array([[0.3, 0.0, 0.1, 0.6]]))
    commit = np.arange(10)[None] < committed
    chosen = BudgetRemask(threshold=0.5, most=2).select(view, reading, commit)
    assert set(chosen[0].nonzero()[0].tolist()) == set(revoked)
