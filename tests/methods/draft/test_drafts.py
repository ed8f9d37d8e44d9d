"""Drafts beside their slow descriptions, and what they must leave as it is."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.decode.cases import Case, cases, facts, some
from tests.decode.test_seams import questions
from tests.reference import drafts as slow
from tests.reference.models import random_models
from warmexp.api import planned
from warmexp.decode.batch import Decoded
from warmexp.decode.lanes import Chosen, Lanes
from warmexp.decode.loop import decode
from warmexp.decode.meter import Meter
from warmexp.decode.strategy import Draft
from warmexp.errors import UserError
from warmexp.methods.draft.cfg import Guidance
from warmexp.methods.draft.freedave import FreeDave
from warmexp.methods.draft.lopa import LoPA
from warmexp.methods.draft.warm import Warm
from warmexp.methods.init.token_inject import TokenInject
from warmexp.methods.init.verify import confirmed
from warmexp.methods.unmask.topk import TopK

COLD = st.just({"name": "mask"})
FROZEN = st.just({"name": "none"})
TAUS = st.fixed_dictionaries(
    {"name": st.just("threshold"), "tau": st.sampled_from([0.2, 0.4, 0.6, 0.9, 1.1, 1.1]), "temperature": st.just(0.0)}
)
PROBLEMS = cases(inits=COLD, unmasks=TAUS, remasks=FROZEN, most=3)
GRAPHS = st.sampled_from([None, None, [[0], [0, 1], [1], [0, 2], [0, 1, 2]], [[1], [0]], [[0, 1, 2, 3]]])


def drafted(case: Case, draft: Draft, **changes) -> list[Decoded]:
    return decode(case.backbone(), list(case.questions), replace(case.strategies(), draft=draft, **changes), case.seed)


def game(case: Case, question) -> slow.Game:
    model = random_models(**case.model)[1]
    return slow.Game(model, question.prompt, case.canvas, case.block, case.mask_id, case.shifted, case.unmask["tau"])


def same(done: list[Decoded], expected: list[slow.Slow], case: Case) -> None:
    for one, other, question in zip(done, expected, case.questions, strict=True):
        assert list(one.ids) == other.ids
        assert list(one.commit_iteration) == other.commit_iteration and list(one.source) == other.source
        assert list(one.confidence) == [None if c is None else pytest.approx(c, abs=1e-9) for c in other.confidence]
        assert (one.cost.nfe, one.cost.rows) == (other.nfe, other.rows)
        length = len(question.prompt) + case.canvas
        assert one.cost.token_forwards == other.rows * length and one.cost.full_forward_equivalents == other.rows
        assert sum(one.nats) == pytest.approx(sum(-np.log(max(c, 1e-300)) for c in other.confidence if c is not None))


@some(60)
@given(
    case=PROBLEMS, d=st.integers(1, 9), accept=st.sampled_from(["exact", "subset"]), eager=st.booleans(),
    order=st.sampled_from(["confidence", "left"]), graph=GRAPHS,
)  # fmt: skip
def test_freedave_as_it_is_described(case, d, accept, eager, order, graph):
    done = drafted(case, FreeDave(d, accept, eager, order, graph))
    same(done, [slow.freedave(game(case, q), d, accept, eager, order == "left", graph) for q in case.questions], case)


@some(40)
@given(
    case=PROBLEMS, d=st.integers(1, 9), eager=st.booleans(), order=st.sampled_from(["confidence", "left"]), graph=GRAPHS
)
def test_an_exact_draft_changes_nothing_but_forwards(case, d, eager, order, graph):
    """Tokens, confidences and the order of commits are those of the rule alone, for every rule and set of candidates."""
    done, plain = drafted(case, FreeDave(d, "exact", eager, order, graph)), case.decode()
    for one, other in zip(done, plain, strict=True):
        assert one.ids == other.ids and one.source == other.source
        assert one.confidence == pytest.approx(other.confidence, abs=1e-12)
        assert one.cost.nfe <= other.cost.nfe <= one.cost.rows + len(one.ids)
        pairs = sorted(zip(other.commit_iteration, one.commit_iteration, strict=True))
        assert all(a[1] <= b[1] for a, b in pairwise(pairs) if a[0] < b[0])
        if d == 1 and graph is None:
            assert facts(one) == facts(other)


def test_a_draft_saves_forwards_and_pays_in_rows(checked_case):
    plain = drafted(checked_case, Draft())
    done = drafted(checked_case, FreeDave(4))
    eager = drafted(checked_case, FreeDave(4, eager=True))
    nfe = [sum(one.cost.nfe for one in found) for found in (plain, done, eager)]
    rows = [sum(one.cost.rows for one in found) for found in (plain, done, eager)]
    assert nfe[0] > nfe[1] > nfe[2] and rows[0] == nfe[0] and rows[1] > nfe[1] and rows[2] > nfe[2]


@pytest.fixture
def checked_case():
    """A model whose words do not depend on what stands around them as much as most: one layer, one token a forward."""
    found = Case(
        questions=tuple(questions()), init={"name": "mask"}, unmask={"name": "threshold", "tau": 1.1},
        remask={"name": "none"}, canvas=16, block=4, shifted=False, seed=0,
        model={"seed": 3, "vocab_size": 20, "padded": 0, "n_layers": 1, "loud_mask": False},
    )  # fmt: skip
    return found


@some(40)
@given(
    case=PROBLEMS, k=st.integers(1, 5), alpha=st.sampled_from([0.0, 0.0, 0.3, 1.0]), share=st.sampled_from([0.01, 0.4, 1.0]),
    by=st.sampled_from(["entropy", "confidence"]),
)  # fmt: skip
def test_lopa_as_it_is_described(case, k, alpha, share, by):
    done = drafted(case, LoPA(k, alpha, share, by))
    same(done, [slow.lopa(game(case, q), k, alpha, share, by) for q in case.questions], case)
    if k == 1:
        assert [facts(one) for one in done] == [facts(one) for one in case.decode()]


@some(30)
@given(case=PROBLEMS, weight=st.sampled_from([0.0, 0.5, 2.0]))
def test_guidance_as_it_is_described(case, weight):
    """The logits of a game that reads every canvas a second time behind a prompt of masks."""

    class Guided(slow.Game):
        def logits(self, canvas):
            conditional, prompt = super().logits(canvas), self.prompt
            self.prompt = (self.mask_id,) * len(prompt)
            free, self.prompt = super().logits(canvas), prompt
            with np.errstate(invalid="ignore"):
                made = free + (weight + 1) * (conditional - free)
            made[:, self.mask_id] = -np.inf
            return made

    def guided(question):
        made = game(case, question)
        return Guided(**{name: getattr(made, name) for name in made.__dataclass_fields__ if name != "done"})

    done = drafted(case, Guidance(weight))
    same(done, [slow.freedave(guided(q), 1, "exact", False, False) for q in case.questions], case)
    if weight == 0:
        for one, other in zip(done, case.decode(), strict=True):
            assert (one.ids, one.commit_iteration, one.cost.nfe) == (other.ids, other.commit_iteration, other.cost.nfe)


@some(60)
@given(
    case=PROBLEMS, k=st.integers(1, 6), theta=st.sampled_from([0.001, 0.05, 0.3, 0.9]), weight=st.sampled_from([0.0, 0.5]),
    judge=st.sampled_from(["visible", "next"]), when=st.sampled_from(["first", "always"]), written=st.sampled_from([0, 3]),
)  # fmt: skip
def test_beginnings_as_they_are_described(case, k, theta, weight, judge, when, written):
    case = case.but(questions=tuple(replace(q, written=min(written, len(q.proposal))) for q in case.questions))
    done = drafted(case, Warm(k, theta, weight, 0.95, judge, when), init=TokenInject(0.0))

    def passes(q, t):
        return bool(confirmed(np.array([q]), np.array([t]), theta, weight, 0.95)[0])

    same(
        done,
        [
            slow.warm(game(case, q), q.proposal, q.trust, q.written, k, passes, judge, when == "always")
            for q in case.questions
        ],
        case,
    )


@some(30)
@given(case=PROBLEMS)
def test_the_whole_proposal_or_nothing(case):
    """θ that everything passes: the canvas is what was proposed, after a forward. One that nothing passes: a cold
    start."""
    warm = TokenInject(0.0)
    all_in = drafted(case, Warm(3, 1e-4, 0.0), init=warm)
    for one, q in zip(all_in, case.questions, strict=True):
        if len(q.proposal) == case.canvas and all(s == "injected" for s in one.source):
            assert one.ids == q.proposal and one.cost.nfe == 1
    nothing = drafted(case, Warm(3, 1 - 1e-4, 100.0, 0.5), init=warm)
    for one, other in zip(nothing, case.decode(), strict=True):
        assert (one.ids, one.commit_iteration, one.cost.nfe) == (other.ids, other.commit_iteration, other.cost.nfe)


def test_a_forward_of_candidates_is_one_ledger_row(checked_case):
    backbone, s = checked_case.backbone(), replace(checked_case.strategies(), draft=FreeDave(3))
    meter = Meter(backbone)
    done = decode(backbone, list(checked_case.questions), s, meter=meter)
    assert max(one.cost.nfe for one in done) == len(meter.ledger)
    for row in meter.ledger:
        firsts = [q for q, lane in zip(row.questions, row.lane or (0,) * len(row.questions), strict=True) if lane == 0]
        assert len(firsts) == len(set(firsts)) == len(set(row.questions))
    for one in done:
        assert one.cost.nfe == sum(one.id in row.questions for row in meter.ledger)
        assert one.cost.rows == sum(row.questions.count(one.id) for row in meter.ledger) > one.cost.nfe


@pytest.mark.parametrize("draft", [FreeDave(4), LoPA(1), Guidance(0.0)])
def test_where_attention_ends_at_blocks(checked_case, draft):
    case = checked_case.but(model=checked_case.model | {"attention_block": 4})
    done, plain = drafted(case, draft), drafted(case, Draft())
    for one, other in zip(done, plain, strict=True):
        assert one.ids == other.ids and one.confidence == pytest.approx(other.confidence, abs=1e-12)
    assert sum(one.cost.nfe for one in done) <= sum(one.cost.nfe for one in plain)


def test_one_token_per_forward_by_quota(checked_case):
    quota = {"unmask": TopK(checked_case.block)}
    done, plain = drafted(checked_case, FreeDave(4), **quota), drafted(checked_case, Draft(), **quota)
    assert [one.ids for one in done] == [one.ids for one in plain]
    assert sum(one.cost.nfe for one in done) < sum(one.cost.nfe for one in plain)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("draft=freedave cache=dual", "draft=freedave reads several canvases.*cache=dual keeps one place.*cache=none"),
        ("draft=lopa remask=t2m", "draft=lopa lays tokens.*remask=t2m takes tokens back.*remask=none"),
        ("draft=freedave unmask.temperature=0.5", "draft=freedave follows a rule.*unmask=threshold as it is set"),
        ("draft=freedave unmask=topk", "unmask=topk as it is set goes by the number of the forward"),
        ("draft=freedave unmask=klass", "unmask=klass as it is set"),
        ("draft=freedave evidence=[credit]", r"evidence=\[credit\] .* remembers: choose evidence=\[\]"),
        ("draft=freedave init=embed_interp", "init=embed_interp as it is set.*init.duration=masked"),
        ("draft=freedave init=token_inject anchor=edit draft.eager=true", "draft.eager=true drafts behind the window"),
        ("draft=warm init=mask", "draft=warm reads a proposal and init=mask reads none"),
        ("draft=freedave draft.d=0", r"draft\.d=0"),
        ("draft=freedave draft.graph=[[0],[]]", r"draft\.graph=.*is not a list of lists"),
        ("draft=freedave draft.accept=all", r"draft\.accept=all is not one of exact, subset"),
        ("draft=lopa draft.share=0", r"draft\.share=0"),
        ("draft=freedave draft.eager=true backbone.attention_block=16", "reads what stands behind the block"),
        ("draft=warm backbone.attention_block=16", "reads what stands behind the block.*draft=none"),
        ("draft=cfg draft.weight=-1", r"draft\.weight=-1"),
        ("draft=cfg cache=dual", "draft=cfg reads several canvases"),
        ("draft=warm draft.judge=me", r"draft\.judge=me is not one of visible, next"),
    ],
)
def test_what_cannot_be_is_refused(words, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence):
        planned([*words.split(), "task.limit=1", f"outputs={tmp_path}"])


@pytest.mark.parametrize(
    "words", ["unmask=topk unmask.steps_per_block=16", "draft.graph=[[0],[0,1],[1]]", "init=verified"]
)
def test_what_can_be_is_planned(words, tmp_path):
    assert planned(["draft=freedave", *words.split(), "task.limit=1", f"outputs={tmp_path}"]).strategies.draft.several


class Bad(Draft):
    several = True

    def __init__(self, **returns):
        self.returns = returns

    def lanes(self, view):
        where = np.zeros((1, view.canvas.length), dtype=bool)
        where[0, 0] = True
        usual = {
            "row": np.array([0]),
            "where": where,
            "token": np.full(where.shape, 2),
            "confidence": where.astype(float),
        }
        return self.returns.get("lanes") or Lanes(**usual | self.returns.get("part", {}))

    def asks(self, view):
        return self.returns.get("asks")

    def choose(self, view, reading, commit):
        return self.returns.get("choose") or super().choose(view, reading, commit)


@pytest.mark.parametrize(
    ("returns", "sentence"),
    [
        ({"lanes": 3}, "Bad.lanes has to return Lanes or None; it returned int"),
        ({"part": {"row": np.array([99])}}, "Bad.lanes has to return rows of the view"),
        ({"part": {"source": 3}}, "it said source=3"),
        ({"part": {"token": np.full((1, 16), 19)}}, "and not the mask; it laid 19"),
        ({"part": {"where": np.zeros((1, 3), dtype=bool)}}, "Bad.lanes, where:"),
        ({"asks": np.zeros(3, dtype=int)}, "Bad.asks has to return"),
        ({"choose": 3}, "Bad.choose has to return a Chosen; it returned int"),
    ],
)
def test_a_draft_that_is_wrong_is_told(checked_case, returns, sentence):
    with pytest.raises(UserError, match=sentence):
        drafted(checked_case, Bad(**returns))


def test_another_questions_candidate_is_refused(checked_case):
    with pytest.raises(UserError, match="one of its own candidates"):
        drafted(checked_case, Bad(choose=Chosen(np.zeros(len(checked_case.questions), dtype=np.int64))))
