"""Runs of one process that share forwards: their records are those of runs that share nothing, and the memory goes with
the backbone."""

from __future__ import annotations

import pytest

import warmexp.runs.run as module
from tests.runs.test_run import records
from warmexp.api import planned
from warmexp.io import read_lines
from warmexp.runs.run import run

INJECT = ["init=token_inject", "remask=linear", "remask.scope=all", "remask.bias=-0.6"]
STUDY = [
    *(["init=mask", f"tau={tau}"] for tau in (0.1, 0.3, 0.9)),
    *([*INJECT, f"rho={rho}", "tau=0.9"] for rho in (0.3, 0.6)),
    *(["init=verified", "init.theta=0.01", f"tau={tau}"] for tau in (0.3, 0.9)),
    *(["init=embed_interp", f"lambda={weight}", "init.duration=fade", "tau=0.3"] for weight in (0.2, 0.6)),
    ["init=mask", "cache=dual", "tau=0.3"],
]


@pytest.mark.slow
def test_records_are_the_same_in_any_order_and_batch_and_after_a_kill(checkpoint, quiet_home):
    base = [
        "backbone=checkpoint", f"backbone.path={checkpoint}", "backbone.dtype=float64", "length.canvas_length=16", "length.block_length=8",
        "proposer=oracle", "proposer.corruption=0.3", "task.limit=6", "device=cpu",
    ]  # fmt: skip
    module._free_backbone()
    apart = [planned([*base, *words, "share=false", "outputs=apart"]) for words in STUDY]
    for plan in apart:
        assert run(plan, say=lambda _: None)["remembered_forwards"] == 0
    assert not len(module._memory)
    shared = [
        planned([*base, *words, f"batch_size={(1, 4, 64)[n % 3]}", "outputs=shared"]) for n, words in enumerate(STUDY)
    ]
    for n in (8, 0, 2, 1, 6, 3, 5, 7, 4, 9):
        if n in (2, 3, 7):  # a kill left two records and a half
            shared[n].folder.mkdir(parents=True)
            lines = (apart[n].folder / "records.jsonl").read_bytes().splitlines(keepends=True)
            (shared[n].folder / "records.jsonl").write_bytes(b"".join(lines[2:4]) + lines[0][:40])
        summary = run(shared[n], say=lambda _: None)
        assert records(shared[n].folder) == records(apart[n].folder)
        rows = read_lines(shared[n].folder / "records.jsonl")
        assert (
            summary["remembered_forwards"] == sum(r["remembered_forwards"] for r in rows) <= sum(r["nfe"] for r in rows)
        )
        assert (summary["remembered_forwards"] > 0) == (n in (1, 2, 3, 4, 5, 6, 7))
        assert all(r["seconds"] >= r["seconds_forward"] > 0 for r in rows)


def test_the_memory_goes_with_the_backbone(checkpoint, quiet_home):
    words = [
        "backbone=checkpoint",
        f"backbone.path={checkpoint}",
        "length.canvas_length=16",
        "length.block_length=8",
        "task.limit=2",
    ]
    run(planned([*words, "backbone.dtype=float64", f"outputs={quiet_home}"]), say=lambda _: None)
    assert len(module._memory)
    other = planned([*words, "backbone.dtype=float32", f"outputs={quiet_home}"])
    run(other, say=lambda _: None)  # the same canvases at first, read by another backbone
    assert module.finished(other.folder)["remembered_forwards"] == 0
    module._free_backbone()
    assert not len(module._memory)
