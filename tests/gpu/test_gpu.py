"""What the simulated GPU says, on a real one: the CPU's tokens for every method, one wait per forward, every second
charged, graphs that replay. Skipped where there is none."""

from __future__ import annotations

import json
import time
import warnings

import pytest
import torch

from tests.decode.cases import facts
from tests.simulated.methods import METHODS, backbone, decoded, questions, runs, strategies
from warmexp.api import run_overrides
from warmexp.decode.loop import stream
from warmexp.decode.meter import Meter
from warmexp.models.backbone import Backbone
from warmexp.models.graphs import GraphedBackbone
from warmexp.proposers.hf import free_models
from warmexp.runs import run as running
from warmexp.runs.environment import keep_float32, no_cudnn_attention

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here")
WAITS = "called a synchronizing CUDA operation"


@pytest.fixture(autouse=True)
def as_in_a_run():
    keep_float32()
    no_cudnn_attention()
    yield
    running._free_backbone()
    free_models()


@runs
def test_tokens_are_those_of_the_cpu(method, shifted):
    """In float64, in which no two tokens are as good as equal."""
    asked = questions(shifted=shifted)
    here = decoded(METHODS[method], asked, shifted=shifted)
    there = decoded(METHODS[method], asked, "cuda", shifted=shifted)
    assert [facts(one) for one in there] == [facts(one) for one in here]
    for one, other in zip(there, here, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-9)


@runs
def test_a_forward_costs_one_wait(method, shifted):
    asked = questions(shifted=shifted)
    decoded(METHODS[method], asked, "cuda", shifted=shifted)  # what a first call loads may wait
    meters: list[Meter] = []

    def watched(made: Backbone) -> Meter:
        meters.append(Meter(made))
        torch.cuda.set_sync_debug_mode("warn")
        return meters[0]

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            decoded(METHODS[method], asked, "cuda", shifted=shifted, meter=watched)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [f"{one.filename}:{one.lineno}" for one in said if WAITS in str(one.message)]
    assert len(waits) <= len(meters[0].ledger), waits


@pytest.mark.parametrize("cache", ["cache=dual", "cache=prefix", "cache=freecache", "dual, often"])
@pytest.mark.parametrize("shifted", [False, True])
def test_graphs_are_recorded_and_say_what_forwards_say(cache, shifted):
    asked = questions(canvas=40, count=5, shifted=shifted)
    words = METHODS[cache]
    ordinary = decoded(words, asked, "cuda", canvas=40, block=20, batch=3, shifted=shifted)
    made = GraphedBackbone(**vars(backbone("cuda", shifted=shifted)))
    done = stream(made, iter(asked), strategies(tuple(words), 40, 20), 0, None, 3)
    found = sorted(done, key=lambda one: one.id)
    assert [facts(one) for one in found] == [facts(one) for one in ordinary]


def records(words: list[str], device: str, folder, limit: int = 32) -> list[dict]:
    given = [f"task.limit={limit}", "share=false", *words, f"device={device}", f"outputs={folder}"]
    _, made = run_overrides(given)
    running._free_backbone()
    free_models()
    return [json.loads(line) for line in (made / "records.jsonl").read_text().splitlines()]


LAB = {
    "cold": [],
    "injected, revoked": ["init=token_inject", "proposer=lab_weak", "remask=linear"],
    "interpolated": ["init=embed_interp", "proposer=lab_strong"],
    "trusted": ["experiment=trusted"],
    "dual": ["cache=dual"],
    "sampled": ["unmask.temperature=0.7"],
}


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("run", LAB)
def test_the_labs_records_are_those_of_the_cpu(run, batch, tmp_path):
    """In float64, in which rounding decides nothing."""
    words = [*LAB[run], f"batch_size={batch}", "backbone.dtype=float64"]
    here, there = (records(words, device, tmp_path / device) for device in ("cpu", "cuda"))
    same = ("ids", "nfe", "commit_iteration", "source", "revocations", "token_forwards")
    assert [{k: r[k] for k in same} for r in there] == [{k: r[k] for k in same} for r in here]


def test_every_second_is_charged():
    asked = questions(canvas=40, count=5)
    clock: list[float] = []

    def watched(made: Backbone) -> Meter:
        clock.append(time.perf_counter())
        return Meter(made)

    done = decoded(["init=mask"], asked, "cuda", canvas=40, block=20, batch=3, meter=watched)
    passed = time.perf_counter() - clock[0]
    assert sum(one.seconds for one in done) == pytest.approx(passed, rel=0.1)
