"""The loop against the slow decoder, and against itself with the batch arranged differently: every decision of every
question."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.decode.cases import (
    CLEAR,
    COLD,
    EXPONENTIAL,
    FROZEN,
    LINEAR,
    UNMASKS,
    WARM,
    build,
    cases,
    check,
    facts,
    profile,
    some,
)
from tests.reference.decoder import decode_one
from tests.reference.models import ScriptedReference, ScriptedTransformer
from warmexp.decode.canvas import Question
from warmexp.decode.loop import decode
from warmexp.decode.strategy import Strategies
from warmexp.methods.anchor.none import NoAnchor
from warmexp.methods.cache.none import NoCache
from warmexp.methods.length.fixed import FixedLength
from warmexp.methods.schedule.blocks import Blocks
from warmexp.models.backbone import Backbone

DENSE = cases(
    inits=st.fixed_dictionaries({"name": st.just("token_inject"), "rho": st.sampled_from([0.8, 1.0])}),
    remasks=st.one_of(st.just(FROZEN), LINEAR | EXPONENTIAL).map(
        lambda remask: remask if remask == FROZEN else remask | {"scope": "injected"}
    ),
    grids=st.sampled_from([(8, 2), (8, 4), (12, 4)]),
)


@some(100)
@given(case=cases(remasks=st.just(FROZEN)))
def test_without_revocation(case):
    check(case)


@some(150)
@given(case=cases(remasks=st.one_of(LINEAR, EXPONENTIAL)))
def test_with_revocation(case):
    check(case)


@some(60)
@given(case=DENSE)
def test_blocks_that_may_hold_no_mask(case):
    """Dense injection: a block without a mask is read once if something in it can be revoked, and skipped if not."""
    check(case)


def test_examples_reach_every_kind_of_decision():
    """The random cases are not all alike: early and late commits, revocations of both sources, recommits, skipped and
    revisited blocks."""
    seen: Counter[str] = Counter()

    @profile(200)
    @given(case=st.one_of(cases(), DENSE))
    def collect(case):
        for question in case.questions:
            answer = case.reference(question)
            seen.update({f"revoked {event[3]}" for event in answer.revocations})
            seen.update({"several at once" for step in answer.forwards if len(step.committed) > 1})
            seen.update({"one of many" for step in answer.forwards if len(step.committed) == 1 < step.masked})
            seen.update({"nothing masked" for step in answer.forwards if not step.masked})
            seen.update(
                {
                    "skipped block"
                    for b in range(case.canvas // case.block)
                    if b not in {s.block for s in answer.forwards}
                }
            )
            seen.update(
                {"revoked twice" for _, times in Counter(e[1] for e in answer.revocations).items() if times > 1}
            )
            seen.update({"unclear" for step in answer.forwards if step.margin <= CLEAR})

    collect()
    wanted = [
        "revoked injected",
        "revoked decoded",
        "several at once",
        "one of many",
        "nothing masked",
        "skipped block",
        "revoked twice",
    ]
    assert all(seen[kind] >= 3 for kind in wanted), seen
    assert seen["unclear"] <= 3, seen


@some(25)
@given(case=cases(), shuffle=st.randoms(use_true_random=False), size=st.integers(1, 3))
def test_batches_do_not_matter(case, shuffle, size):
    """Permuted and split into batches of `size`, every question comes out the same, in the order asked for."""
    assume(all(step.margin > CLEAR for q in case.questions for step in case.reference(q).forwards))
    together = {done.id: facts(done) for done in case.decode()}
    order = list(case.questions)
    shuffle.shuffle(order)
    apart = [done for start in range(0, len(order), size) for done in case.decode(tuple(order[start : start + size]))]
    assert [done.id for done in apart] == [q.id for q in order]
    assert {done.id: facts(done) for done in apart} == together


@some(20)
@given(case=cases(inits=WARM, unmasks=UNMASKS, most=2), other=st.integers(4, 9))
def test_the_seed_is_read_and_reproducible(case, other):
    """The same seed twice gives the same, another seed is followed too (equality with the reference at both)."""
    assert [facts(d) for d in case.decode()] == [facts(d) for d in case.decode()]
    check(case.but(seed=other))


def scripted(
    table, unmask, remask=FROZEN, init=COLD, question=None, canvas=4, block=4, alignment="aligned", dtype=torch.float64
):
    """A backbone that says `table` [T, V] at each sequence position; the mask is V - 1. Returns our and the reference's
    facts."""
    table = torch.as_tensor(table, dtype=torch.float64)
    question = question or Question("q", (1,))
    mask = table.shape[1] - 1
    backbone = Backbone(ScriptedTransformer(table, dtype), mask_id=mask, eos_id=0, logits=alignment)
    strategies = Strategies(
        build(init), build(unmask), build(remask), Blocks(), NoCache(), FixedLength(canvas, block), NoAnchor()
    )
    answer = decode_one(
        ScriptedReference(table), question, init, unmask, remask, canvas, block, mask, alignment == "shifted"
    )
    return facts(decode(backbone, [question], strategies)[0]), facts(answer)


FAR = -1e4  # a logit whose softmax share is exactly 0


@pytest.mark.parametrize(("tau", "nfe"), [(0.5, 1), (0.25, 1), (0.5000001, 4)])
def test_threshold_counts_equality_and_ties_go_left(tau, nfe):
    """Two equally likely tokens everywhere: conf is exactly 1/2; ties of tokens and of positions go to the lowest
    index."""
    ours, expected = scripted(
        [[FAR, FAR, 0.0, 0.0, FAR, FAR]] * 5, {"name": "threshold", "tau": tau, "temperature": 0.0}
    )
    assert ours == expected
    assert ours["ids"] == [2] * 4 and ours["nfe"] == nfe
    assert ours["commit_iteration"] == ([0] * 4 if nfe == 1 else [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("steps", "when"), [(1, [0, 0, 0, 0]), (2, [0, 0, 1, 1]), (3, [0, 0, 1, 2]), (9, [0, 1, 2, 3])]
)
def test_topk_ties_go_left(steps, when):
    ours, expected = scripted(
        [[0.0, 0.0, 0.0, 0.0, 0.0, FAR]] * 5, {"name": "topk", "steps_per_block": steps, "temperature": 0.0}
    )
    assert ours == expected
    assert ours["commit_iteration"] == when and ours["ids"] == [0] * 4


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_decisions_are_made_in_float64(dtype):
    """conf = 1 / (1 + e^-17.5) = 1 - 2.5e-8, which float32 would round to 1: below tau = 1 - 1e-8, so one token per
    forward."""
    policy = {"name": "threshold", "tau": 1 - 1e-8, "temperature": 0.0}
    ours, expected = scripted([[0.0, 17.5, FAR, FAR]] * 5, policy, dtype=dtype)
    assert ours == expected and ours["nfe"] == 4


def test_float64_logits_are_not_rounded():
    """The better token leads by 1e-12."""
    policy = {"name": "threshold", "tau": 0.9, "temperature": 0.0}
    ours, expected = scripted([[0.0, 1.0, 1.0 + 1e-12, FAR]] * 5, policy)
    assert ours == expected and ours["ids"] == [2] * 4


@pytest.mark.parametrize("mask_logit", [1e4, 0.0, -1e4])
def test_the_mask_has_no_share_in_the_confidence(mask_logit):
    """conf = 1/2 whatever the model thinks of the mask token; tau = 1/2 commits everything at once, and never the
    mask."""
    table = [[FAR, FAR, 0.0, 0.0, FAR, mask_logit]] * 5
    ours, expected = scripted(table, {"name": "threshold", "tau": 0.5, "temperature": 0.0})
    assert ours == expected
    assert ours["ids"] == [2] * 4 and ours["nfe"] == 1


@pytest.mark.parametrize(("alignment", "ids"), [("aligned", [2, 3, 4, 0]), ("shifted", [1, 2, 3, 4])])
def test_alignment(alignment, ids):
    """Sequence position t says: token t mod 5, after a prompt of two tokens."""
    table = torch.full((6, 6), FAR)
    for t in range(6):
        table[t, t % 5] = 0.0
    policy = {"name": "threshold", "tau": 0.9, "temperature": 0.0}
    ours, expected = scripted(table, policy, question=Question("q", (1, 1)), alignment=alignment)
    assert ours == expected and ours["ids"] == ids


@pytest.mark.parametrize("block", [2, 4])
@pytest.mark.parametrize("scope", ["decoded", "all"])
def test_revocation_stops_after_four_block_lengths(block, scope):
    """b = 1: every visible token is revoked at once, until 4W forwards of the block have run; then it fills up and is
    left for good."""
    table = [[1.0, 0.5, 0.0, 0.2, 0.1, FAR]] * 5
    remask = {"name": "linear", "bias": 1.0, "slope": 0.0, "scope": scope}
    ours, expected = scripted(table, {"name": "threshold", "tau": 2.0, "temperature": 0.0}, remask, block=block)
    assert ours == expected
    # Forwards 0 … 4W-1 each leave one visible token; from 4W on the other W-1 follow, one each.
    assert ours["nfe"] == (4 // block) * (4 * block + block - 1)


def test_a_fresh_commit_is_not_revoked_in_the_same_forward():
    """b = 1 with everything above the threshold: the block is full after its first forward, so nothing is ever
    revoked."""
    remask = {"name": "linear", "bias": 1.0, "slope": 0.0, "scope": "all"}
    ours, expected = scripted(
        [[0.0, 0.0, FAR, FAR, FAR, FAR]] * 5, {"name": "threshold", "tau": 0.5, "temperature": 0.0}, remask
    )
    assert ours == expected
    assert ours["nfe"] == 1 and not ours["revocations"]


@pytest.mark.parametrize(
    ("bias", "scope", "nfe"), [(1.0, "injected", 2), (1.0, "decoded", 0), (1.0, "all", 2), (-1.0, "all", 0)]
)
def test_a_full_block_is_read_iff_something_can_be_revoked(bias, scope, nfe):
    """rho = 1: forward 0 revokes all four injected tokens, forward 1 replaces them. Without a candidate or a rate
    nothing is run."""
    question = Question("q", (1,), (3, 3, 3, 3))
    ours, expected = scripted(
        [[0.0, 0.0, FAR, FAR, FAR, FAR]] * 5,
        {"name": "threshold", "tau": 0.5, "temperature": 0.0},
        {"name": "linear", "bias": bias, "slope": 2.0, "scope": scope},
        {"name": "token_inject", "rho": 1.0},
        question,
    )
    assert ours == expected
    assert ours["nfe"] == nfe
    assert ours["ids"] == ([0] * 4 if nfe else [3] * 4)
    assert ours["revocations"] == ([(0, i, 3, "injected", -1) for i in range(4)] if nfe else [])
