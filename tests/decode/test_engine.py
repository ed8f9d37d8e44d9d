"""The engine against the plain forward, with questions that come and go; and how often it waits for the device."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import Mock, patch

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.decode.cases import FREEZING, INITS, VERIFIED, WINDOWS, cases, facts, some
from tests.simulated.cuda import SimulatedCuda
from warmexp.decode import meter
from warmexp.decode.loop import stream
from warmexp.decode.meter import Meter
from warmexp.models.plain import PlainBackbone
from warmexp.models.wanted import download

CACHES = st.one_of(st.just({"name": "none"}), WINDOWS, FREEZING)


@some(50)
@given(case=cases(), cache=CACHES, size=st.integers(1, 4), order=st.randoms(use_true_random=False))
def test_places_that_are_taken_over_do_not_matter(case, cache, size, order):
    """Any number of places, any order of arrival: what the plain forward says, one question at a time."""
    case = case.but(cache=cache)
    questions = list(case.questions)
    order.shuffle(questions)
    backbone = case.backbone()
    plain = stream(PlainBackbone(**vars(backbone)), case.questions, case.strategies(), case.seed, None, 1)
    found = stream(backbone, iter(questions), case.strategies(), case.seed, None, size)
    assert {d.id: facts(d) for d in found} == {d.id: facts(d) for d in plain}


@some(50)
@given(case=cases(inits=st.one_of(INITS, VERIFIED)), cache=CACHES, positions=st.sampled_from([1, 20, 40]))
def test_a_forward_in_groups_of_rows_is_one_forward(case, cache, positions):
    """However many rows go through the backbone at once: the same canvases, and the same ledger."""

    def decoded(positions: int) -> tuple[list, list, list]:
        one = Meter(case.backbone())
        with patch.dict(meter.POSITIONS, cpu=positions), patch.object(one, "_run", Mock(wraps=one._run)) as run:
            done = list(stream(one.backbone, case.questions, case.but(cache=cache).strategies(), case.seed, one, 3))
        computed = [call.args[0].computed for call in run.call_args_list]
        return [facts(d) for d in done], [replace(row, seconds=0, choosing=0) for row in one.ledger], computed

    apart, together = decoded(positions), decoded(1 << 30)
    assert apart[:2] == together[:2]
    assert all(len(rows) == 1 or len(rows) * int(rows.max()) <= positions for rows in apart[2])
    each = [sorted(n for rows in computed for n in rows.tolist()) for computed in (apart[2], together[2])]
    assert len(together[2]) <= len(apart[2]) and each[0] == each[1]
    alike = cache["name"] == "none"
    assert all(not alike or len(set(rows.tolist())) == 1 for rows in apart[2] + together[2]), (
        "rows of one length go together"
    )
    verifies = case.init["name"] == "verified"  # in forwards that keep nothing
    assert alike or verifies or len(together[2]) == len(together[1])


@some(15)
@given(case=cases(grids=st.just((8, 4))))
def test_a_place_is_taken_over_at_once(case):
    """With two places: a question is asked for when one is free, and as long as any waits, no forward leaves a place
    empty."""
    meter = Meter(case.backbone())
    waiting, finished = list(case.questions), []

    def arriving():
        while waiting:
            assert len(case.questions) - len(waiting) - len(finished) < 2, "more questions than places"
            yield waiting.pop(0)

    for done in stream(meter.backbone, arriving(), case.strategies(), case.seed, meter, 2):
        finished.append(done.id)
    alone = {row.questions for row in meter.ledger if len(row.questions) == 1}
    assert sorted(finished) == sorted(q.id for q in case.questions)
    assert len(alone) <= 1, "a place was empty while questions were waiting"


def test_one_copy_brings_everything():
    """Whatever the types and shapes, and wherever in memory the tensors begin."""
    wide = [
        torch.tensor([[True, False, True], [False, True, True]]),
        torch.tensor([[0, 1, -1], [3, 2, 1]], dtype=torch.int8),
    ]
    narrow = [torch.tensor([5, -(2**40)]), torch.tensor([0, 7])]
    odd = [
        torch.tensor([[True], [False], [True]]).T,
        torch.arange(6, dtype=torch.float64).view(2, 3)[:, 1:],
        torch.zeros(0),
    ]
    tensors = [*wide, *narrow, *odd]
    with SimulatedCuda() as gpu:
        there = [t.to("cuda") for t in tensors]
        gpu.waits.clear()
        read = download(there)
        assert sum(gpu.waits.values()) == 1
    assert all(a.equal(b) and a.dtype == b.dtype and a.is_cpu for a, b in zip(read, tensors, strict=True))
