"""Forwards taken from memory: the same answers, counts and charges as without, in any order of runs; and what is never
remembered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.decode.cases import COLD, FREEZING, FROZEN, INITS, VERIFIED, WINDOWS, Case, cases, facts, some
from warmexp.decode.batch import Decoded
from warmexp.decode.forward import Forward
from warmexp.decode.loop import stream
from warmexp.decode.memory import Answer, Memory, SharingMeter, digests
from warmexp.decode.meter import Meter
from warmexp.decode.reading import Reading, Word
from warmexp.decode.strategy import Strategies
from warmexp.decode.view import View
from warmexp.methods.unmask.threshold import Threshold
from warmexp.models.backbone import Backbone

TAUS = [{"name": "threshold", "tau": tau, "temperature": 0.0} for tau in (0.2, 0.4, 0.6, 0.9, 1.1)]
COUNTS = ("nfe", "no_op", "aux_forwards", "token_forwards", "full_forward_equivalents")


def decoded(case: Case, meter: Meter, size: int = 64) -> dict[str, Decoded]:
    return {
        done.id: done
        for done in stream(meter.backbone, iter(case.questions), case.strategies(), case.seed, meter, size)
    }


def assert_same(found: dict[str, Decoded], expected: dict[str, Decoded]) -> None:
    """In all of a record that no clock decides."""
    assert found.keys() == expected.keys()
    for i, done in found.items():
        assert facts(done) == facts(expected[i])
        assert [getattr(done.cost, name) for name in COUNTS] == [getattr(expected[i].cost, name) for name in COUNTS]
        assert done.confidence == pytest.approx(expected[i].confidence, abs=1e-9)
        assert done.columns.keys() == expected[i].columns.keys()
        assert done.columns.get("score", ()) == pytest.approx(expected[i].columns.get("score", ()), abs=1e-9)


def same_as_without(runs: Iterable[tuple[Case, int]], backbone: Backbone) -> SharingMeter:
    """The runs one after the other with one memory, each compared with itself alone; the last one's meter."""
    memory = Memory()
    for case, size in runs:
        meter = SharingMeter(backbone, memory=memory)
        assert_same(decoded(case, meter, size), decoded(case, Meter(backbone)))
    return meter


@some(15)
@given(
    case=cases(inits=st.just(COLD), remasks=st.just(FROZEN)),
    taus=st.permutations(TAUS),
    sizes=st.lists(st.sampled_from([1, 2, 8, 64]), min_size=5, max_size=5),
)
def test_a_threshold_sweep(case, taus, sizes):
    same_as_without([(case.but(unmask=tau), size) for tau, size in zip(taus, sizes, strict=True)], case.backbone())


@pytest.mark.slow
@some(40)
@given(
    case=cases(),
    others=st.lists(st.tuples(st.one_of(INITS, VERIFIED), st.integers(0, 2)), min_size=2, max_size=4),
    size=st.integers(1, 4),
)
@pytest.mark.slow
def test_runs_that_differ_in_their_warm_starts_and_draws(case, others, size):
    """Rates of injection, weights and durations of a mixture, verification, remasking, seeds: whatever else ran
    before."""
    runs = [case, *(case.but(init=init, seed=seed) for init, seed in others), case.but(remask=FROZEN), case]
    same_as_without([(one, size) for one in runs], case.backbone())


@some(20)
@given(case=cases(inits=st.one_of(INITS, VERIFIED)), size=st.integers(1, 3))
def test_a_run_again_is_remembered_and_charged_what_it_took(case, size):
    """Every forward that policies without logits read; and each question's seconds inside forwards are those of the
    first time."""
    case = case.but(unmask=case.unmask | {"temperature": 0.0})
    memory, backbone = Memory(), case.backbone()
    first = decoded(case, SharingMeter(backbone, memory=memory), size)
    with patch.object(SharingMeter, "_run", side_effect=AssertionError("computed again")):
        meter = SharingMeter(backbone, memory=memory)
        again = decoded(case, meter)
    assert_same(again, first)
    assert meter.spent == 0
    for i, done in again.items():
        assert done.cost.remembered == done.cost.nfe
        # An answer that the first run itself took from memory, or that two questions share, has one price.
        if len({q.prompt for q in case.questions}) == len(case.questions) and not first[i].cost.remembered:
            assert done.cost.forward_seconds == pytest.approx(first[i].cost.forward_seconds)
            assert done.cost.choosing_seconds == pytest.approx(first[i].cost.choosing_seconds)
            assert done.seconds >= done.cost.forward_seconds + done.cost.choosing_seconds


@some(10)
@given(case=cases(inits=st.just(COLD), remasks=st.just(FROZEN)))
def test_sampled_tokens_are_not_remembered(case):
    case = case.but(unmask=TAUS[0] | {"temperature": 0.7})
    meter = same_as_without([(case, 2), (case.but(seed=9), 2), (case, 2)], case.backbone())
    assert not len(meter.memory)


@some(10)
@given(case=cases(inits=st.just(COLD)), cache=st.one_of(WINDOWS, FREEZING))
def test_forwards_beside_kept_keys_are_not_remembered(case, cache):
    case = case.but(cache=cache)
    meter = same_as_without([(case, 2), (case, 3)], case.backbone())
    assert not len(meter.memory) and not any(row.remembered for row in meter.ledger)


@dataclass
class Margin(Threshold):
    """Somebody's own policy, which says that it reads logits: τ on the margin between the two best tokens."""

    reads_logits = True

    def measure(self, view: View, word: Word) -> dict[str, Tensor]:
        best = word.logits.softmax(-1).topk(2).values
        return {"margin": best[:, 0] - best[:, 1]}

    def select(self, view: View, reading: Reading) -> np.ndarray:
        return view.masked & (reading.measured["margin"] >= self.tau)


class OwnCase(Case):
    def strategies(self) -> Strategies:
        return replace(super().strategies(), unmask=Margin(tau=0.3))


@some(5)
@given(case=cases(inits=st.just(COLD), remasks=st.just(FROZEN)))
def test_a_policy_that_reads_logits_gets_them(case):
    own = OwnCase(**vars(case))
    assert own.strategies().reads_logits and not case.but(unmask=TAUS[0]).strategies().reads_logits
    assert not len(same_as_without([(own, 2), (own, 2)], case.backbone()).memory)


def asked(
    ids: Sequence[Sequence[int]], tokens: Sequence[int], fed: dict[int, float] | None = None, **more
) -> tuple[Forward, np.ndarray]:
    """A request for positions 2 and 4 of each row, which has other embeddings at some positions."""
    rows = len(ids)
    lengths = np.array([len(row) for row in ids])
    place = {"row": np.arange(rows).repeat(2), "position": np.array([2, 4] * rows)} | more
    request = Forward(torch.tensor(ids), lengths, lengths, **place)
    if fed is not None:
        request.embeddings = request.ids[..., None].expand(-1, -1, 3).double().clone()
        request.mixed = np.zeros(request.ids.shape, dtype=bool)
        for position, value in fed.items():
            request.embeddings[:, position], request.mixed[:, position] = value, True
    return request, np.array(tokens * rows)


ROW = [5, 6, 9, 9, 7]
DIFFERENT = {
    "a token": asked([[5, 6, 9, 8, 7]], [9, 7]),
    "an end": asked([[5, 6, 9, 9, 7, 0]], [9, 7]),
    "what is asked": asked([ROW], [9, 9]),
    "where": asked([ROW], [9, 7], position=np.array([3, 4])),
    "hidden": asked([ROW], [9, 7], hidden=np.array([False, True])),
    "a prior": asked([ROW], [9, 7], {2: 0.5}),
    "more of it": asked([ROW], [9, 7], {2: 0.75}),
    "its place": asked([ROW], [9, 7], {3: 0.5}),
    "two": asked([ROW], [9, 7], {2: 0.5, 3: 0.5}),
}


def test_all_that_an_answer_depends_on_is_in_its_digest():
    found = {name: digests(*request) for name, request in DIFFERENT.items()} | {
        "as it is": digests(*asked([ROW], [9, 7]))
    }
    assert len({digest for row in found.values() for digest in row}) == len(found)


def test_neighbours_and_padding_are_not_in_a_digest():
    alone = digests(*asked([ROW], [9, 7]))
    pair = asked([ROW, [1, 1, 1, 1, 1]], [9, 7])
    pair[0].ids = torch.nn.functional.pad(pair[0].ids, (0, 3), value=4)
    assert digests(*pair)[0] == alone[0] == digests(*asked([ROW], [9, 7], {}))[0]


def test_a_memory_keeps_to_its_budget_and_forgets_what_was_not_asked_for_longest():
    answer = Answer(np.zeros(4, dtype=np.int64), np.zeros(4), 1.0, 0.1)
    memory = Memory(budget=10_000)
    memory.put(b"first", answer)
    for i in range(100):
        memory.put(b"%d" % i, answer)
        assert memory.get(b"first") is answer and memory.size <= 10_000
    assert 5 < len(memory) < 20 and memory.get(b"0") is None and memory.get(b"99") is answer
    assert memory.size == len(memory) * (memory.size // len(memory))
    memory.clear()
    assert not len(memory) and memory.size == 0


@some(10)
@given(case=cases(unmasks=st.sampled_from(TAUS[2:]), remasks=st.just(FROZEN)), budget=st.sampled_from([0, 2000, 5000]))
@pytest.mark.slow
def test_a_full_memory_changes_nothing(case, budget):
    memory, backbone = Memory(budget=budget), case.backbone()
    for tau in TAUS:
        one = case.but(unmask=tau)
        assert_same(decoded(one, SharingMeter(backbone, memory=memory), 2), decoded(one, Meter(backbone)))
        assert memory.size <= budget
