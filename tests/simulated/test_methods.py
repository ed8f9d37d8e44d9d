"""Every method on a simulated GPU: the CPU's tokens, one wait per forward, and every second charged to somebody."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from functools import cache

import pytest

from tests.decode.cases import facts
from tests.simulated.cuda import SimulatedCuda
from tests.simulated.methods import METHODS, decoded, questions, runs
from warmexp.decode.batch import Decoded
from warmexp.decode.memory import SharingMeter
from warmexp.decode.meter import Meter
from warmexp.models.backbone import Backbone


def milliseconds(func, tensors) -> float:
    """A device on which a forward takes far longer than it takes to be queued."""
    return 3e-4 if func.overloadpacket.__name__ == "linear" else 2e-6


@dataclass
class Run:
    done: list[Decoded]
    waits: Counter
    forwards: int
    leavings: int
    passed: float
    left: list[int]


@cache
def simulated(method: str, shifted: bool, batch: int = 2) -> Run:
    """Three questions on the second of two GPUs. Building the model and the strategies is not counted."""
    asked = questions(shifted=shifted)
    meters: list[Meter] = []
    began: list[float] = []

    def watched(made: Backbone) -> Meter:
        meters.append(Meter(made))
        gpu.waits.clear()
        began.append(time.perf_counter())
        return meters[0]

    with SimulatedCuda(devices=2, timeline=milliseconds) as gpu:
        done = decoded(METHODS[method], asked, "cuda:1", batch=batch, shifted=shifted, meter=watched)
        passed = time.perf_counter() - began[0]
        forwards, meters[:] = sum(row.kind != "guide" for row in meters[0].ledger), []
    return Run(done, gpu.waits, forwards, len(asked), passed, gpu.allocated)


@runs
def test_tokens_are_those_of_the_cpu(method, shifted):
    here = decoded(METHODS[method], questions(shifted=shifted), shifted=shifted)
    run = simulated(method, shifted)
    assert [facts(one) for one in run.done] == [facts(one) for one in here]
    for one, other in zip(run.done, here, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-9)
        assert one.columns.get("score", ()) == pytest.approx(other.columns.get("score", ()), abs=1e-9)
    assert run.left == [0, 0], "something on the device outlived the questions"


@runs
def test_a_forward_costs_one_wait(method, shifted):
    """And nothing else waits: not a question that comes or leaves, not a proposal that is moved, not a guide."""
    run = simulated(method, shifted)
    assert sum(run.waits.values()) == run.forwards, run.waits
    assert {what for what, _ in run.waits} == {"read"}, run.waits


@runs
def test_every_second_is_charged(method, shifted):
    run = simulated(method, shifted)
    assert sum(one.seconds for one in run.done) == pytest.approx(run.passed, rel=0.02)


@pytest.mark.parametrize("batch", [1, 3])
def test_every_second_is_charged_whatever_the_batch(batch):
    run = simulated("cache=dual", False, batch)
    assert sum(one.seconds for one in run.done) == pytest.approx(run.passed, rel=0.02)


def test_what_is_remembered_costs_what_it_took():
    """Of a forward that a memory may give again, the device's time is charged, and not only that of queueing it."""
    asked = questions()
    with SimulatedCuda(timeline=milliseconds) as gpu:
        meter = SharingMeter(None)

        def shared(backbone):
            meter.backbone = backbone
            return meter

        first = decoded(["init=mask"], asked, "cuda", batch=1, meter=shared)
        again = decoded(["init=mask"], asked, "cuda", batch=1, meter=shared)
        del meter.backbone
    assert gpu.kernels
    for one, other in zip(again, first, strict=True):
        assert one.cost.remembered and other.cost.forward_seconds + other.cost.choosing_seconds >= 0.9 * other.seconds
