"""Whole runs of the lab on a simulated GPU: the CPU's records, and a batch that does not fit is halved."""

from __future__ import annotations

import json

import pytest

from tests.simulated.cuda import SimulatedCuda
from warmexp.api import run_overrides
from warmexp.errors import UserError
from warmexp.models.checkpoint import Checkpoint
from warmexp.proposers.hf import free_models
from warmexp.runs import run as running

SMALL = ["task.limit=2", "batch_size=2", "length.canvas_length=20", "length.block_length=10", "share=false"]
RUNS = {
    "its own draft": ["init=token_inject", "proposer=self", "remask=linear"],
    "a proposer": ["init=verified", "proposer=lab_weak"],
    "bfloat16": ["backbone.dtype=bfloat16", "cache=dual"],
    "plain": ["engine=plain", "cache=prefix"],
}
# On the CPU rows of one length go together, on a GPU they are padded: last bits of probabilities differ.
EXACT = ("ids", "nfe", "commit_iteration", "source", "revocations", "token_forwards")


@pytest.fixture(autouse=True)
def nothing_stays():
    yield
    running._free_backbone()
    free_models()


def records(words: list[str], device: str, folder) -> list[dict]:
    _, made = run_overrides([*SMALL, *words, f"device={device}", f"outputs={folder}"])
    running._free_backbone()
    free_models()
    rows = [json.loads(line) for line in (made / "records.jsonl").read_text().splitlines()]
    return [{key: row[key] for key in EXACT} for row in rows]


@pytest.mark.parametrize("run", [n if n == "a proposer" else pytest.param(n, marks=pytest.mark.slow) for n in RUNS])
def test_records_are_those_of_the_cpu(run, tmp_path):
    here = records(RUNS[run], "cpu", tmp_path / "cpu")
    with SimulatedCuda(devices=2) as gpu:
        there = records(RUNS[run], "cuda:1", tmp_path / "gpu")
    assert there == here
    assert gpu.allocated == [0, 0] and gpu.peak[1] > 0 == gpu.peak[0]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_run_whose_weights_are_no_numbers_stores_nothing(device, tmp_path, monkeypatch):
    def spoilt(*arguments, load=Checkpoint.load):
        backbone = load(*arguments)
        backbone.transformer.ln_f.weight.data[0] = float("nan")
        return backbone

    monkeypatch.setattr(Checkpoint, "load", spoilt)
    with SimulatedCuda(), pytest.raises(UserError, match="at its forward 1 are not finite"):
        records([], device, tmp_path)
    running._free_backbone()
    assert not [line for file in tmp_path.glob("*/records.jsonl") for line in file.read_text().splitlines()]
