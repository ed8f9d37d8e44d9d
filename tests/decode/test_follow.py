"""anchor=edit: where a proposal is moved to, against a slow search; and every decision that follows, against the slow
decoder."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.decode.cases import (
    AGREEMENT,
    CLEAR,
    FREEZING,
    FROZEN,
    LINEAR,
    SOFT,
    VERIFIED,
    WARM,
    WINDOWS,
    Case,
    cases,
    check,
    facts,
    profile,
    some,
)
from tests.reference.decoder import Answer, distance, moved
from warmexp.decode.canvas import Question
from warmexp.decode.loop import decode
from warmexp.methods.anchor.edit import EditAnchor, ends
from warmexp.models.plain import PlainBackbone

ANCHORS = st.fixed_dictionaries(
    {
        "name": st.just("edit"),
        "window": st.integers(1, 9),
        "within": st.sampled_from([0.3, 0.6, 0.8, 1.0]),
        "reach": st.sampled_from([0, 1, 3, 16]),
        "abort": st.booleans(),
        "verify": st.integers(0, 2),
    }
)
REREADING = ANCHORS.map(lambda anchor: anchor | {"window": 4, "within": 0.6, "reach": 16, "abort": False, "verify": 2})
LENIENT = VERIFIED.map(lambda init: init | {"theta": 0.01})
PRIORS = st.one_of(VERIFIED, VERIFIED, WARM)
REVISED = st.one_of(st.just(FROZEN), LINEAR)
ABOVE = st.fixed_dictionaries({"name": st.just("threshold"), "tau": st.sampled_from([0.4, 0.8])})
GRIDS = st.sampled_from([(8, 4), (8, 2), (12, 4), (16, 8), (16, 4)])
TOKENS = st.lists(st.integers(0, 3), max_size=9)


@st.composite
def following(draw, inits=PRIORS, remasks=REVISED, anchors=ANCHORS):
    """A case whose proposals are what decoding comes to without them, a few tokens moved, replaced or left out."""
    case = draw(
        cases(inits=inits, unmasks=st.one_of(AGREEMENT, AGREEMENT, ABOVE), remasks=remasks, grids=GRIDS, most=3)
    )
    plain = case.but(
        init={"name": "mask"}, remask=FROZEN, unmask={"name": "threshold", "tau": 0.6, "temperature": 0.0}
    ).decode()
    questions = []
    for question, done in zip(case.questions, plain, strict=True):
        ids = [*[0] * draw(st.integers(0, 2)), *done.ids][: case.canvas]
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, len(ids) - 1))
            ids[at : at + draw(st.integers(0, 2))] = [0] * draw(st.integers(0, 2))
            ids = ids[: case.canvas] or [0]
        written = draw(st.sampled_from([len(ids), len(ids), len(ids) // 2]))
        trust = tuple((7 * i % 5) / 4 for i in range(len(ids))) if draw(st.booleans()) else ()
        likely = tuple(((token, 0.5), (ids[0], 0.25)) for token in ids) if question.likely else ()
        questions.append(replace(question, proposal=tuple(ids), trust=trust, written=written, likely=likely))
    return case.but(questions=tuple(questions), anchor=draw(anchors))


@some(150)
@given(found=TOKENS, text=TOKENS)
def test_distances_to_every_end(found, text):
    assert ends(found, text) == [min(distance(found, text[i:j]) for i in range(j + 1)) for j in range(len(text) + 1)]


@some(150)
@given(
    anchor=ANCHORS,
    proposal=TOKENS,
    decoded=st.lists(st.integers(0, 3), min_size=2, max_size=12),
    width=st.integers(1, 4),
    tail=st.booleans(),
)
def test_where_a_proposal_is_moved(anchor, proposal, decoded, width, tail):
    proposal, trust = tuple(proposal), tuple(i / 20 for i in range(len(proposal)))
    question = Question("q", (1,), proposal, trust, len(proposal) // 2 if tail else len(proposal))
    strategy = EditAnchor(**{key: value for key, value in anchor.items() if key != "name"})
    ours, slow = strategy.moved(question, decoded, width), moved(question, decoded, len(decoded), width, anchor)
    s = len(decoded)
    assert ours.proposal == slow.proposal and ours.trust[s:] == slow.trust[s:] and len(ours.trust) == len(ours.proposal)


def test_one_word_more_and_one_line_less():
    """By hand: the text goes on behind what was decoded, its trust with it; and what is nowhere in the proposal ends
    it."""
    question = Question("q", (1,), (5, 6, 7, 8, 9, 0, 0, 0), (0.1, 0.2, 0.3, 0.4, 0.5, 1.0, 1.0, 1.0), written=5)
    anchor = EditAnchor(window=4, within=0.3)
    longer = anchor.moved(question, [4, 5, 6, 7], 4)
    assert (
        longer.proposal == (4, 5, 6, 7, 8, 9, 0, 0) and longer.trust[4:] == (0.4, 0.5, 1.0, 1.0) and longer.written == 6
    )
    shorter = anchor.moved(question, [6, 7, 8, 9], 4)
    assert shorter.proposal == (6, 7, 8, 9, 0, 0, 0, 0) and shorter.written == 4
    other = anchor.moved(question, [1, 2, 3, 4], 4)
    assert other.proposal == (1, 2, 3, 4) and other.trust == (0.1, 0.2, 0.3, 0.4)
    assert anchor.moved(replace(question, proposal=(), trust=(), written=0, likely=()), [1, 2], 2).proposal == ()


def test_what_has_lost_its_anchor_gets_none_again_unless_it_may():
    question = Question("q", (1,), (5, 6, 7, 8, 9, 0, 1, 2), written=8)
    decoded = [1, 2, 3, 4, 9, 0, 1, 2]  # the second block is the proposal's, the first is not
    assert EditAnchor(window=4).moved(question, decoded, 4).proposal == tuple(decoded)
    assert EditAnchor(window=4, within=0.5, abort=False).moved(question, decoded[:6], 4).proposal == (
        *decoded[:6],
        1,
        2,
    )


@some(40)
@given(
    case=following(
        inits=SOFT.map(lambda soft: soft | {"lam": 1.0, "p": 0.0, "by_trust": True}), remasks=st.just(FROZEN)
    )
)
def test_the_weights_of_a_soft_prior_move_along(case):
    check(case)


@some(50)
@given(case=following(inits=WARM), cache=st.one_of(st.just({"name": "none"}), WINDOWS, FREEZING))
def test_moved_priors_equal_the_reference(case, cache):
    check(case.but(cache=cache))


# A policy that could still revise what is before the window: its question is finished all the same.
BEHIND = Case(
    questions=(
        Question("q0-17", (12,), (4, 4, 10, 10, 17, 4, 4, 4, 4, 7, 4, 4), written=12),
        Question("q1-15", (18, 5), (0, 6, 3, 3, 3, 0, 9, 9, 9, 3, 3, 3), written=12),
    ),
    init={"name": "verified", "theta": 1e-4, "weight": 0.0, "cap": 0.5, "score": "visible", "keep_rule": "prefix"},
    unmask={"name": "threshold", "tau": 0.4, "temperature": 0.0},
    remask={"name": "linear", "bias": -0.9, "slope": 0.0, "scope": "decoded"},
    canvas=12,
    block=4,
    shifted=False,
    seed=0,
    model={"seed": 0, "vocab_size": 20, "padded": 2, "n_layers": 1, "loud_mask": False},
    anchor={"name": "edit", "window": 2, "within": 0.3, "reach": 3, "abort": False, "verify": 1},
)


@some(40)
@example(case=BEHIND, cache={"name": "none"})
@given(case=following(inits=VERIFIED), cache=st.one_of(st.just({"name": "none"}), WINDOWS))
def test_moved_proposals_are_verified_like_the_reference(case, cache):
    check(case.but(cache=cache))


@pytest.mark.slow
def test_examples_move_drop_and_verify():
    seen: Counter[str] = Counter()

    @profile(110)
    @given(case=st.one_of(following(), following(inits=LENIENT, anchors=REREADING)))
    def collect(case):
        for question in case.questions:
            answer, still = case.reference(question), case.but(anchor={"name": "none"}).reference(question)
            again = verifications(answer) > verifications(still)
            seen["other decisions"] += facts(answer) != facts(still)
            seen["cheaper"] += answer.nfe < still.nfe
            seen["verified again"] += again
            seen["kept of it"] += again and answer.source.count("injected") > still.source.count("injected")
            seen["taken back"] += any(event[3] == "injected" for event in answer.revocations) and case.remask == FROZEN
            seen["unclear"] += any(step.margin <= CLEAR for step in answer.forwards)

    collect()
    assert seen.pop("unclear") <= 8
    assert all(
        seen[kind] >= 3 for kind in ("other decisions", "cheaper", "verified again", "kept of it", "taken back")
    ), seen


def verifications(answer: Answer) -> int:
    return sum(step.block == -1 for step in answer.forwards)


@some(15)
@given(
    case=following(),
    shuffle=st.randoms(use_true_random=False),
    cache=st.one_of(st.just({"name": "none"}), WINDOWS, FREEZING),
)
def test_neighbours_and_the_engine_do_not_matter(case, shuffle, cache):
    case = case.but(cache=cache)
    together = {done.id: facts(done) for done in case.decode()}
    order = list(case.questions)
    shuffle.shuffle(order)
    assert {q.id: facts(case.decode((q,))[0]) for q in order} == together
    plain = PlainBackbone(**vars(case.backbone()))
    assert {q.id: facts(decode(plain, [q], case.strategies(), case.seed)[0]) for q in order} == together


def test_a_proposal_that_stands_where_it_should_stays():
    """Where decoding says what the proposal says, nothing moves, and the forwards are those of no anchor."""
    seen: Counter[str] = Counter()

    @profile(20)
    @given(case=following(inits=st.just({"name": "token_inject", "rho": 0.0})))
    def collect(case):
        still = case.but(anchor={"name": "none"}, unmask=case.unmask | {"temperature": 0.0}, remask=FROZEN)
        first = {done.id: done.ids for done in still.decode()}
        case = still.but(
            questions=tuple(
                replace(q, proposal=first[q.id], trust=(), written=case.canvas, likely=()) for q in case.questions
            )
        )
        for question, done in zip(case.questions, case.decode(), strict=True):
            if done.ids == question.proposal:
                seen["said"] += 1
                assert facts(case.but(anchor=still.anchor | collected).decode((question,))[0]) == facts(done)

    collected = {"name": "edit", "window": 5, "within": 0.3, "reach": 16, "abort": True, "verify": 1}
    collect()
    assert seen["said"] >= 10, seen
