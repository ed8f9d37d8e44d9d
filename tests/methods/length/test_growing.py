"""Canvases that find their length, beside a decoder whose canvas is a list of slots."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.decode.cases import Case, cases, facts, some
from tests.decode.test_seams import COLD, backbone, decoded, questions  # noqa: F401 (a fixture)
from tests.reference import lengths as slow
from tests.reference.models import random_models
from warmexp.api import planned, run_overrides
from warmexp.decode.canvas import Size
from warmexp.decode.edit import Resize
from warmexp.decode.loop import decode
from warmexp.decode.strategy import Length
from warmexp.errors import UserError
from warmexp.io import read_lines
from warmexp.methods.init.token_inject import TokenInject
from warmexp.methods.length.daedal import Daedal
from warmexp.methods.length.fixed import FixedLength
from warmexp.methods.length.rho_eos import RhoEos
from warmexp.methods.unmask.random import Random
from warmexp.rng import uniform

FROZEN = st.just({"name": "none"})
RULES = st.fixed_dictionaries(
    {
        "name": st.just("threshold"),
        "tau": st.sampled_from([0.3, 0.6, 1.1]),
        "temperature": st.sampled_from([0.0, 0.0, 1.5]),
    }
)
WARM = st.fixed_dictionaries({"name": st.just("token_inject"), "rho": st.sampled_from([0.0, 0.0, 0.5])})
PROBLEMS = cases(inits=WARM, unmasks=RULES, remasks=FROZEN, most=3, grids=st.sampled_from([(8, 4), (12, 4), (16, 8)]))
SHARES = st.sampled_from([0.0, 0.05, 0.2, 0.5, 1.0])


def tape(case: Case, question, first: int) -> slow.Tape:
    u = uniform(case.seed, question.id, "inject", case.canvas)
    slots = [slow.Slot(i) for i in range(first)]
    for i, token in enumerate(question.proposal[:first]):
        if u[i] < case.init["rho"]:
            slots[i] = slow.Slot(i, token, "injected")
    model, unmask = random_models(**case.model)[1], case.unmask
    where = (question.id, question.prompt, case.canvas, case.block, case.mask_id, case.shifted)
    return slow.Tape(model, *where, unmask["tau"], unmask["temperature"], slots)


def same(case: Case, length: Length, run) -> list:
    """The package's batch and the slow decoder, question by question."""
    case = case.but(seed=0)
    done = decode(case.backbone(), list(case.questions), replace(case.strategies(), length=length), 0)
    for one, question in zip(done, case.questions, strict=True):
        expected = run(tape(case, question, length.begins(question)))
        assert list(one.ids) == [slot.token for slot in expected.slots]
        assert list(one.source) == [slot.source for slot in expected.slots]
        assert list(one.commit_iteration) == [slot.committed for slot in expected.slots]
        sure = [slot.confidence for slot in expected.slots]
        assert list(one.confidence) == [None if c is None else pytest.approx(c, abs=1e-9) for c in sure]
        assert list(one.moves) == expected.moves
        assert (one.cost.nfe, one.cost.token_forwards) == (expected.nfe, expected.token_forwards)
    return done


@some(60)
@given(
    case=PROBLEMS, first=st.integers(1, 16), target=SHARES, ready=SHARES, low=st.sampled_from([0.0, 0.3, 0.9]),
    step=st.integers(1, 4), look=st.integers(1, 6), tail=st.integers(0, 3),
)  # fmt: skip
def test_daedal_as_it_is_described(case, first, target, ready, low, step, look, tail):
    first = min(first, case.canvas)
    length = Daedal(case.canvas, case.block, first, 0, target, ready, low, step, look, tail)
    same(case, length, lambda tape: slow.daedal(tape, target, ready, low, step, look, tail))


@some(60)
@given(
    case=PROBLEMS, first=st.integers(1, 16), signal=st.sampled_from(["density", "density", "tail_confidence"]),
    band=st.sampled_from([(0.4, 0.6), (0.0, 0.0), (0.1, 0.2), (0.5, 1.0)]), step=st.integers(1, 3),
    growth=st.sampled_from(["exp", "linear", "const"]), moves=st.sampled_from([0, 2, 64]), look=st.integers(1, 6),
)  # fmt: skip
def test_rho_eos_as_it_is_described(case, first, signal, band, step, growth, moves, look):
    first = min(first, case.canvas)
    length = RhoEos(case.canvas, case.block, first, 0, signal, *band, step, growth, moves, look)
    same(case, length, lambda tape: slow.rho_eos(tape, signal, *band, step, growth, moves, look))


@some(20)
@given(case=PROBLEMS, first=st.integers(1, 16))
def test_a_length_that_is_given_no_reason_to_change_is_a_fixed_one(case, first):
    """Also where it is no multiple of the block: the last one is then a part."""
    first = min(first, case.canvas)
    quiet = [
        Daedal(case.canvas, case.block, first, target=0, low=0, tail=0),
        RhoEos(case.canvas, case.block, first, low=0, high=1),
    ]
    found = [
        decode(case.backbone(), list(case.questions), replace(case.strategies(), length=one), case.seed)
        for one in quiet
    ]
    assert [facts(one) for one in found[0]] == [facts(one) for one in found[1]]
    assert not any(one.moves for one in [*found[0], *found[1]]) and {len(one.ids) for one in found[0]} == {first}
    if first == case.canvas:
        assert [facts(one) for one in found[0]] == [facts(one) for one in case.decode()]


@some(12)
@given(case=PROBLEMS)
def test_batches_do_not_matter(case):
    """Also where a neighbour's positions move and one's own do not, and where whole forwards are drawn."""
    for length in (
        Daedal(case.canvas, case.block, 3, step=3, low=0.6, look=3),
        RhoEos(case.canvas, case.block, 5, step=2),
    ):
        s = replace(case.strategies(), length=length, unmask=Random())
        together = decode(case.backbone(), list(case.questions), s, case.seed)
        alone = [decode(case.backbone(), [q], s, case.seed)[0] for q in case.questions]
        assert [facts(one) for one in together] == [facts(one) for one in alone]
        assert [one.moves for one in together] == [one.moves for one in alone]


def test_a_proposals_length_is_where_it_begins():
    length = Daedal(32, 8, "proposal", 3)
    q = questions()[0]
    assert length.begins(replace(q, proposal=(1,) * 10, written=5)) == 8
    assert length.begins(replace(q, proposal=(0,) * 16, written=0)) == length.block_length  # its author's end alone
    assert (
        length.begins(replace(q, proposal=())) == 8 and length.begins(replace(q, proposal=(1,) * 40, written=40)) == 32
    )
    assert length.shown() == "L₀=proposal+3"


class Moves(FixedLength):
    """Once, in the second forward."""

    resizes = True

    def __init__(self, where, count):
        super().__init__(16, 8)
        self.where, self.count = where, count

    def begins(self, question):
        return 8

    def resize(self, view, reading, edit):
        insert, delete = np.zeros((len(view.rows), 17), dtype=np.int64), np.zeros((len(view.rows), 16), dtype=bool)
        now = view.forwards == 1
        if self.count > 0:
            insert[now, self.where] = self.count
        else:
            delete[now, self.where : self.where - self.count] = True
        return Resize(insert, delete)


@pytest.mark.parametrize(("where", "count"), [(3, 2), (8, 3), (7, -1), (1, -2), (2, -6), (0, 8)])
def test_what_a_position_has_goes_with_it(backbone, where, count):  # noqa: F811
    """Tokens, confidences, columns and the proposal; and the trace says where."""
    s = replace(COLD, length=Moves(where, count), init=TokenInject(0.6))
    moved = 0
    for one, other in zip(decoded(backbone, s), decoded(backbone, replace(s, length=Moves(0, 0))), strict=True):
        assert not other.moves and len(other.ids) == 8
        if other.cost.nfe < 2:  # it is over before anything moves
            assert facts(one) == facts(other)
            continue
        moved += 1
        assert one.moves == ((1, where, count),)
        assert len(one.ids) == len(one.source) == len(one.confidence) == 8 + count
        stays = [i for i in range(8) if not (count < 0 and where <= i < where - count)]
        for k, i in enumerate(stays):
            at = k + (count if count > 0 and i >= where else 0)
            if other.commit_iteration[i] in (0, 1):
                assert (one.ids[at], one.commit_iteration[at], one.confidence[at], one.source[at]) == (
                    other.ids[i], other.commit_iteration[i], other.confidence[i], other.source[i],
                )  # fmt: skip
    assert moved


class Wrong(FixedLength):
    resizes = True

    def __init__(self, **returns):
        super().__init__(8, 4)
        self.returns = returns

    def begins(self, question):
        return self.returns.get("begins", 8)

    def prepare(self, meter, questions, canvases):
        return self.returns.get("prepare") or super().prepare(meter, questions, canvases)

    def resize(self, view, reading, edit):
        made = self.returns.get("resize")
        return made(len(view.rows)) if callable(made) else made


def change(insert=(), delete=()):
    def made(rows):
        added, gone = np.zeros((rows, 9), dtype=np.int64), np.zeros((rows, 8), dtype=bool)
        added[:, [at for at, _ in insert]] = [count for _, count in insert]
        gone[:, list(delete)] = True
        return Resize(added, gone)

    return made


@pytest.mark.parametrize(
    ("returns", "sentence"),
    [
        ({"begins": 9}, "Wrong.begins has to return a number of positions from 1 to 8; it returned 9"),
        ({"prepare": [3]}, "Wrong.prepare has to return a list of"),
        ({"prepare": [Size(8, 99)] * 4}, "it returned Size"),
        ({"resize": 3}, "Wrong.resize has to return a Resize or None; it returned int"),
        ({"resize": change(insert=[(1, 1)])}, "has to leave a canvas of 1 to 8 positions"),
        ({"resize": change(delete=range(8))}, "has to leave a canvas of 1 to 8 positions.*would have 0"),
        ({"resize": change(insert=[(1, -1)])}, "it returned -1 before position 1"),
    ],
)
def test_a_length_that_is_wrong_is_told(backbone, returns, sentence):  # noqa: F811
    with pytest.raises(UserError, match=sentence):
        decoded(backbone, replace(COLD, length=Wrong(**returns)))


@pytest.mark.parametrize("length", ["daedal", "rho_eos"])
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("cache=dual", "moves positions, and cache=dual counts on where they are: choose cache=none"),
        ("remask=t2m", "remask=t2m counts on.*remask=none"),
        ("draft=freedave", "draft=freedave counts on.*draft=none"),
        ("watch=prophet", "watch=prophet counts on.*watch=none"),
        ("init=token_inject anchor=edit", "anchor=edit counts on.*anchor=none"),
        ("init=scaffold init.template='{work}'", "init=scaffold counts on.*another init"),
        ("length.initial=proposal", "begins with the length of a proposal and init=mask reads none"),
        ("backbone.attention_block=16", "backbone=lab does not see so far: choose length=fixed"),
        ("length.initial=half", r"length\.initial=half is neither a number of positions nor proposal"),
        ("length.initial=0", r"length\.initial=0"),
        ("length.step=0", r"length\.step=0"),
        ("length.low=2", r"length\.low=2"),
    ],
)
def test_what_cannot_be_is_refused(length, words, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence):
        planned([f"length={length}", *words.split(), "task.limit=1", f"outputs={tmp_path}"])


def test_records_of_changing_length(tmp_path):
    words = ["length=daedal", "length.initial=8", "length.low=0.5", "task.limit=4", f"outputs={tmp_path}", "tau=0.7"]
    summary, folder = run_overrides(words)
    records = read_lines(folder / "records.jsonl")
    assert summary["n"] == 4 and len({len(r["ids"]) for r in records}) > 1
    for r in records:
        size = 8 + 8 * (r["nfe"] - max(r["commit_iteration"]) - 1)  # what follows is within: growth comes first
        assert len(r["ids"]) == len(r["source"]) == len(r["confidence"]) <= 512 and r["source"][-1] == "fixed"
        assert len(r["ids"]) >= 8 + sum(count for *_, count in r["moves"]) and size >= 8
    again, _ = run_overrides(words)
    assert again["run_id"] == summary["run_id"]


def test_a_verified_proposals_length(tmp_path):
    """An init that verifies reads its proposal on the canvas that it then has."""
    words = [
        "init=verified",
        "length=rho_eos",
        "length.initial=proposal",
        "length.slack=4",
        "task.limit=6",
        f"outputs={tmp_path}",
    ]
    _, folder = run_overrides(words)
    for r in read_lines(folder / "records.jsonl"):
        assert (r["proposal"]["score"] is None and "injected" in r["source"]) or r["nfe"] > 1


def test_what_daedal_adds_comes_after_an_inits_forwards(tmp_path):
    """The first forward is the init's, which reads the proposal."""
    words = ["init=verified", "length=daedal", "length.initial=16", "length.target=1", "length.low=0", "task.limit=4"]
    _, folder = run_overrides([*words, "length.canvas_length=32", "length.tail=0", f"outputs={tmp_path}"])
    for r in read_lines(folder / "records.jsonl"):
        assert r["moves"] == [[1, 16, 8], [2, 24, 8]] and r["nfe"] > 4


def test_a_gap_of_whole_tenths_is_no_more_than_that():
    """0.4 - 0.1 and 0.9 - 0.6 are a little more than three tenths in binary."""
    count = RhoEos(64, 8)._count
    gaps = [0.4 - 0.4, 0.4 - 0.3, 0.4 - 0.1, 0.9 - 0.6, 0.4 - 0.29, 0.4 - 0.0, 1.0 - 0.6]
    assert list(count(np.array(gaps))) == [0, 8, 32, 32, 16, 64, 64]
