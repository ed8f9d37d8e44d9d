"""What holds for every decode: progress, no mask left, bounded NFE, frozen sources, and the one edit function's
refusals."""

from __future__ import annotations

from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.decode.cases import EXPONENTIAL, FROZEN, LINEAR, build, cases, some
from tests.reference.models import random_models
from warmexp.decode.canvas import DECODED, FIXED, INJECTED, MASK, SOURCES, Canvas, Question, Start
from warmexp.decode.columns import Column, Columns
from warmexp.decode.edit import Edit, Replacement
from warmexp.decode.loop import decode
from warmexp.decode.strategy import Strategies
from warmexp.methods.anchor.none import NoAnchor
from warmexp.methods.cache.none import NoCache
from warmexp.methods.init.token_inject import TokenInject
from warmexp.methods.length.fixed import FixedLength
from warmexp.methods.remask.linear import LinearRemask
from warmexp.methods.remask.none import NoRemask
from warmexp.methods.schedule.blocks import Blocks
from warmexp.methods.unmask.threshold import Threshold
from warmexp.models.backbone import Backbone

INJECTIONS = st.fixed_dictionaries({"name": st.just("token_inject"), "rho": st.sampled_from([0.3, 0.6, 1.0])})


@dataclass
class Made:
    """One question's part of one `apply`: how many of the block's positions were masked, committed, revoked; what was
    written."""

    question: str
    masked: int
    committed: int
    revoked: int
    tokens: list[int]


def recorded(case) -> tuple[list, list[Made]]:
    """Decode with every edit of a canvas written down."""
    edits: list[Made] = []
    original = Canvas.apply

    def apply(canvas: Canvas, edit: Edit) -> None:
        masked = canvas.masked[edit.rows[:, None], edit.positions]
        for i, row in enumerate(edit.rows):
            counts = (0 if x is None else int(x[i].sum()) for x in (masked, edit.commit, edit.revoke))
            edits.append(Made(canvas.questions[row].id, *counts, edit.token[i][edit.commit[i]].tolist()))
        original(canvas, edit)

    with patch.object(Canvas, "apply", apply):
        return case.decode(), edits


@some(70)
@given(case=cases())
def test_every_forward_makes_progress(case):
    """At least one commit per unfinished question and forward, unless its block held no mask; then NFE is bounded."""
    done, edits = recorded(case)
    for edit in edits:
        assert edit.committed >= 1 or edit.masked == 0
    for question, one in zip(case.questions, done, strict=True):
        mine = [edit for edit in edits if edit.question == question.id]
        assert one.cost.nfe == len(mine)
        assert sum(edit.revoked for edit in mine) == len(one.revocations)
        assert sum(edit.committed for edit in mine) == case.uninjected(question) + len(one.revocations)
        assert one.cost.nfe <= case.canvas + len(one.revocations)


@some(50)
@given(case=cases())
def test_a_finished_canvas_holds_no_mask(case):
    """Even when the model prefers the mask, no mask is committed or left (half of the cases have such a model)."""
    done, edits = recorded(case)
    for one in done:
        assert case.mask_id not in one.ids
        assert len(one.ids) == len(one.commit_iteration) == len(one.source) == case.canvas
        assert set(one.source) <= {"injected", "decoded"}
        assert all(
            (n == -1) == (source == "injected") for n, source in zip(one.commit_iteration, one.source, strict=True)
        )
        assert max(one.commit_iteration) < max(1, one.cost.nfe)
    assert all(case.mask_id not in edit.tokens for edit in edits)


@some(40)
@given(case=cases(most=3))
def test_the_ledger_of_an_uncached_run(case):
    """Every forward is a full one: as many full-forward equivalents as forwards, prompt + canvas query tokens each."""
    for question, one in zip(case.questions, case.decode(), strict=True):
        assert one.cost.full_forward_equivalents == one.cost.nfe
        assert one.cost.token_forwards == one.cost.nfe * (len(question.prompt) + case.canvas)
        assert one.cost.aux_forwards == 0


@some(30)
@given(case=cases(inits=INJECTIONS, remasks=st.just(FROZEN), most=3))
def test_injected_tokens_stay_without_remasking(case):
    for question, one in zip(case.questions, case.decode(), strict=True):
        kept = [i for i, source in enumerate(one.source) if source == "injected"]
        assert len(kept) == case.canvas - case.uninjected(question)
        assert all(one.ids[i] == question.proposal[i] for i in kept)
        assert not one.revocations


@some(30)
@given(case=cases(inits=INJECTIONS, remasks=st.one_of(LINEAR, EXPONENTIAL), most=3))
def test_only_the_scope_is_revoked(case):
    """And each revocation undoes what was there: the proposal's token, or the commit of the iteration it names."""
    allowed = {"injected": {"injected"}, "decoded": {"decoded"}, "all": {"injected", "decoded"}}[case.remask["scope"]]
    for question, one in zip(case.questions, case.decode(), strict=True):
        for n, position, token, source, since in one.revocations:
            assert source in allowed
            assert since < n < one.cost.nfe
            assert one.commit_iteration[position] > n
            assert (since == -1 and token == question.proposal[position]) if source == "injected" else since >= 0


@some(25)
@given(
    case=cases(inits=INJECTIONS, remasks=LINEAR.map(lambda r: r | {"bias": 0.5, "slope": 0.0, "scope": "all"}), most=3),
    every=st.integers(1, 3),
)
def test_a_fixed_token_never_changes(case, every):
    """Injected tokens at every `every`-th position are made fixed: they stay, even if a remask policy calls everything
    a candidate."""
    original = Canvas.__init__
    fixed: dict[str, dict[int, int]] = {}

    def build_fixed(canvas: Canvas, *args, **kwargs) -> None:
        original(canvas, *args, **kwargs)
        chosen = (canvas.source == INJECTED) & (np.arange(canvas.length) % every == 0)
        canvas.source[chosen] = FIXED
        for row, question in enumerate(canvas.questions):
            fixed[question.id] = {i: int(canvas.ids[row, i]) for i in chosen[row].nonzero()[0].tolist()}

    def careless(remask: LinearRemask, source: np.ndarray) -> np.ndarray:
        return np.ones(source.shape, dtype=bool)

    with patch.object(Canvas, "__init__", build_fixed), patch.object(LinearRemask, "candidates", careless):
        done = case.decode()
    for one in done:
        for i, token in fixed[one.id].items():
            assert one.ids[i] == token and one.source[i] == "fixed" and one.commit_iteration[i] == -1
        assert not {position for _, position, *_ in one.revocations} & set(fixed[one.id])


@pytest.mark.parametrize("name", ["linear", "exponential"])
@pytest.mark.parametrize(
    ("scope", "expected"), [("injected", {"injected"}), ("decoded", {"decoded"}), ("all", {"injected", "decoded"})]
)
def test_candidates_by_source(name, scope, expected):
    fields = {"slope": 0.0} if name == "linear" else {"floor": -2.0, "base": 0.4, "span": 40}
    remask = build({"name": name, "bias": 0.5, "scope": scope} | fields)
    source = np.array([[MASK, INJECTED, DECODED, FIXED]], dtype=np.int8)
    chosen = remask.candidates(source)[0].tolist()
    assert {SOURCES[i] for i in range(1, 4) if chosen[i]} == expected


def canvas() -> Canvas:
    """One question, L = W = 4, after 5 forwards: masked, injected, decoded in forward 4, fixed; the mask is 9."""
    start = Start(np.array([5, 6, 7, 8]), np.array([False, True, True, True]))
    columns = {"streak": Column(dtype="int64", fill=7, reset=True), "all": Column(dtype="int64")}
    made = Canvas([Question("q", (1,))], [start], 9, 4, columns)
    made.source[0] = [MASK, INJECTED, DECODED, FIXED]
    made.committed_at[0, 2] = 4
    made.confidence[0, 2] = 0.6
    made.forwards += 5
    return made


def flags(chosen: list[int]) -> np.ndarray:
    return np.array([[i in chosen for i in range(4)]])


def edit(made: Canvas, commit: list[int], revoke: list[int], token: int = 3, replace: list[int] = ()) -> None:
    replaced = Replacement(flags(replace), np.full((1, 4), 2), np.full((1, 4), 0.5)) if replace else None
    where = (np.array([0]), np.arange(4)[None])
    made.apply(Edit(*where, flags(commit), np.full((1, 4), token), np.full((1, 4), 0.75), flags(revoke), replaced))


@pytest.mark.parametrize(
    ("commit", "revoke", "token"),
    [([1], [], 3), ([2], [], 3), ([3], [], 3), ([], [0], 3), ([], [3], 3), ([0], [0], 3), ([1], [1], 3), ([0], [], 9)],
    ids=[
        "over injected",
        "over decoded",
        "over fixed",
        "revoke mask",
        "revoke fixed",
        "both on a mask",
        "both on a token",
        "the mask",
    ],
)
def test_apply_refuses(commit, revoke, token):
    with pytest.raises(ValueError, match=r"a commit over|a revocation or replacement of"):
        edit(canvas(), commit, revoke, token)


def test_apply_commits_revokes_and_counts():
    made = canvas()
    edit(made, [0], [1, 2])
    assert made.ids.tolist() == [[3, 9, 9, 8]]
    assert made.source.tolist() == [[DECODED, MASK, MASK, FIXED]]
    assert made.committed_at.tolist() == [[5, -1, -1, -1]]
    assert np.nan_to_num(made.confidence).tolist() == [[0.75, 0, 0, 0]]
    assert (made.forwards.tolist(), made.visits.tolist()) == ([6], [1])
    assert made.revocations == {"q": [(5, 1, 6, "injected", -1), (5, 2, 7, "decoded", 4)]}
    edit(made, [1], [])
    assert made.committed_at.tolist() == [[5, 6, -1, -1]]


def test_a_prior_that_is_laid_anew_takes_injected_tokens_and_their_columns_with_it():
    made = canvas()
    made.columns.values["streak"][:] = 1
    laid = Start(np.array([1, 2, 3, 4]), np.zeros(4, dtype=bool), forwards=1)
    made.place_prior(0, Question("q", (1,)), laid, 1)
    assert made.ids.tolist() == [[9, 9, 7, 8]] and made.prior.tolist() == [[5, 2, 3, 4]]
    assert made.columns.values["streak"].tolist() == [[1, 7, 1, 1]] and made.columns.values["all"].tolist() == [
        [0, 0, 0, 0]
    ]
    assert made.revocations == {"q": [(5, 1, 6, "injected", -1)]} and made.forwards.tolist() == [6]


def test_columns_follow_their_rows():
    """Whatever their shape, when questions leave and others join."""
    declared = {"place": Column(), "row": Column("row"), "word": Column(vocabulary=True)}
    some, others = Columns(declared, 3, 2, 4), Columns(declared, 1, 2, 4)
    for name in declared:
        for row in range(3):
            some.values[name][row] = row
        others.values[name][:] = 9
    some.keep(np.array([2, 1]))
    some.join(others)
    for name in declared:
        assert np.asarray(some.values[name]).reshape(3, -1)[:, 0].tolist() == [2, 1, 9], name


def test_apply_replaces_tokens_and_columns_begin_anew():
    made = canvas()
    for name in ("streak", "all"):
        made.columns.values[name][:] = 1
    edit(made, [0], [1], replace=[2])
    assert made.ids.tolist() == [[3, 9, 2, 8]] and made.source.tolist() == [[DECODED, MASK, DECODED, FIXED]]
    assert made.committed_at.tolist() == [[5, -1, 5, -1]] and made.confidence[0, 2] == 0.5
    assert made.revocations == {"q": [(5, 1, 6, "injected", -1), (5, 2, 7, "decoded", 4)]}
    assert made.columns.values["streak"].tolist() == [[1, 7, 7, 1]] and made.columns.values["all"].tolist() == [
        [1, 1, 1, 1]
    ]


@pytest.mark.parametrize("replace", [[0], [3]], ids=["a mask", "fixed"])
def test_apply_refuses_to_replace(replace):
    with pytest.raises(ValueError, match=r"a revocation or replacement of"):
        edit(canvas(), [], [], replace=replace)


def test_a_batch_that_cannot_be_decoded_soundly_is_refused():
    """Results are keyed by question id, shifted logits need a token before the canvas, and a mask is no proposal."""
    transformer, _ = random_models(seed=0)
    backbone = Backbone(transformer, mask_id=15, eos_id=14, logits="shifted")
    strategies = Strategies(
        TokenInject(1.0), Threshold(0.9), NoRemask(), Blocks(), NoCache(), FixedLength(4, 4), NoAnchor()
    )
    assert decode(backbone, [], strategies) == []
    for questions, why in (
        ([Question("a", (1,)), Question("a", (2,))], "share an id"),
        ([Question("a", ())], "empty prompt"),
        ([Question("a", (1,), (3, 15))], "mask token"),
    ):
        with pytest.raises(ValueError, match=why):
            decode(backbone, questions, strategies)
