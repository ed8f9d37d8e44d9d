"""A run from composed configuration to summary: records, resume after kill -9, reuse, identity, independence of batch
size."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest
import torch

from warmexp.api import planned
from warmexp.errors import UserError
from warmexp.io import append_lines, read_lines
from warmexp.runs.run import run

TIMES = ("seconds", "seconds_forward", "remembered_forwards")


@pytest.fixture
def words(checkpoint, quiet_home) -> list[str]:
    """A small run: random backbone, corrupted reference solutions injected, sceptical remasking."""
    return [
        "backbone=checkpoint", f"backbone.path={checkpoint}", "backbone.dtype=float64", "length.canvas_length=24", "length.block_length=8",
        "proposer=oracle", "proposer.corruption=0.3", "init=token_inject", "rho=0.5", "remask=linear", "remask.scope=all",
        "remask.bias=-0.6", "tau=0.5", "task.limit=9", "device=cpu", f"outputs={quiet_home}/outputs",
    ]  # fmt: skip


def records(folder: Path) -> dict[str, dict]:
    """Records by question id, without what only the clock and the jobs before decide."""
    return {r["id"]: {k: v for k, v in r.items() if k not in TIMES} for r in read_lines(folder / "records.jsonl")}


@pytest.mark.pictures
def test_the_run_folder_holds_what_a_point_needs(words):
    plan = planned(words)
    summary = run(plan, say=lambda _: None)
    rows = read_lines(plan.folder / "records.jsonl")
    assert [r["id"] for r in rows] == [q.id for q in plan.questions]
    assert summary == json.loads((plan.folder / "summary.json").read_text())
    assert summary["n"] == 9 and summary["oracle"] is True and summary["status"] == "finished"
    assert (
        summary["nfe_mean"] == sum(r["nfe"] for r in rows) / 9
        and summary["nfe_ci95"][0] <= summary["nfe_mean"] <= summary["nfe_ci95"][1]
    )
    assert summary["accuracy_flexible"] == sum(r["correct"]["flexible"] for r in rows) / 9
    assert 0 < summary["proposal_accuracy_strict"] < 1
    for r in rows:
        assert plan.backbone.config.mask_token_id not in r["ids"] and len(r["ids"]) == 24
        assert r["nfe"] == r["full_forward_equivalents"] and r["aux_forwards"] == 0
        commits = sum(s == "decoded" for s in r["source"]) + sum(e[3] == "decoded" for e in r["revocations"])
        assert r["nfe"] <= commits
    assert all(
        (c is None) == (s == "injected") for r in rows for c, s in zip(r["confidence"], r["source"], strict=True)
    )
    texts = json.loads((plan.folder / "tokens.json").read_text())
    shown = [r["ids"] + r["proposal"]["ids"] + [e[2] for e in r["revocations"]] for r in rows]
    assert {int(i) for i in texts} == {i for ids in shown for i in ids}
    for r in rows:
        proposal = r["proposal"]
        text = "".join(texts[str(i)] for i in proposal["ids"][: proposal["written"]])
        assert proposal["text"].startswith(text) and (text == proposal["text"] or proposal["cut"])
    assert all(r["correct_after"][name][-1][1] == r["correct"][name] for r in rows for name in ("strict", "flexible"))
    assert all(text == plan.backbone.tokenizer.piece(int(i)) for i, text in texts.items())
    assert any(r["revocations"] for r in rows) and any("injected" in r["source"] for r in rows)
    environment = json.loads((plan.folder / "environment.json").read_text())
    assert environment["packages"]["torch"] and environment["device"] == "cpu" and environment["backbone"]
    assert (plan.folder / "figures" / "nfe.png").stat().st_size > 1000
    config = (plan.folder / "config.yaml").read_text()
    assert "rho: 0.5" in config and "${" not in config


def test_a_finished_run_is_reused_and_not_touched(words):
    plan = planned(words)
    first = run(plan, say=lambda _: None)
    before = {p: p.stat().st_mtime_ns for p in plan.folder.rglob("*") if p.is_file()}
    said: list[str] = []
    assert run(planned([*words, "batch_size=2"]), said.append) == first
    assert any("reused" in s for s in said)
    assert {p: p.stat().st_mtime_ns for p in before} == before


@pytest.mark.parametrize(
    ("change", "cache"),
    [
        ("batch_size=1", "none"),
        pytest.param("batch_size=2", "none", marks=pytest.mark.slow),
        ("batch_size=5", "dual"),
        pytest.param("engine=plain", "none", marks=pytest.mark.slow),
        ("engine=plain", "prefix"),
    ],
)
def test_records_do_not_depend_on_batch_size_and_engine(words, tmp_path, change, cache):
    words = [*words, f"cache={cache}", "share=false"]
    whole, parts = planned([*words, "batch_size=64"]), planned([*words, change, f"outputs={tmp_path}/other"])
    assert whole.run_id == parts.run_id
    run(whole, say=lambda _: None)
    run(parts, say=lambda _: None)
    assert records(whole.folder) == records(parts.folder)


def test_records_of_a_subset_are_those_of_the_whole(words):
    """Neither the order nor the neighbours matter: a random subset decodes to the same records."""
    words = [*words, "share=false"]
    whole, some = planned(words), planned([*words, "task.limit=4"])
    run(whole, say=lambda _: None)
    run(some, say=lambda _: None)
    everything = records(whole.folder)
    assert records(some.folder) == {i: everything[i] for i in records(some.folder)}


@pytest.mark.parametrize(
    "change",
    ["rho=0.4", "seed=1", "tau=0.6", "remask=none", "proposer.corruption=0.2", "proposer.tail=eos", "task.limit=8", "length.block_length=4",
     "cache=dual", "length=eos_stop", "backbone.dtype=float32", "unmask.temperature=0.5", "task.stop=[x]"],
)  # fmt: skip
def test_what_changes_results_changes_the_run(words, change):
    kept = [w for w in words if w.partition("=")[0] != change.partition("=")[0]]
    if change == "remask=none":
        kept = [w for w in kept if not w.startswith("remask.")]
    assert planned([*kept, change]).run_id != planned(words).run_id


@pytest.mark.parametrize(
    "change",
    [
        "batch_size=3",
        "engine=plain",
        "share=false",
        "outputs=elsewhere",
        "device=auto",
        "tracker=wandb",
        "study.name=x",
        "study.baseline='init=mask tau=0.9'",
    ],
)
def test_where_it_runs_does_not_change_the_run(words, change):
    kept = [w for w in words if w.partition("=")[0] != change.partition("=")[0]]
    assert planned([*kept, change]).run_id == planned(words).run_id


def test_a_cold_start_is_one_run_whatever_the_proposer(words):
    cold = [
        w
        for w in words
        if w.partition("=")[0]
        not in ("init", "rho", "proposer", "proposer.corruption", "remask.scope", "remask.bias", "remask")
    ]
    ids = {planned([*cold, "init=mask", f"proposer={p}"]).run_id for p in ("none", "oracle", "lab_weak")}
    assert len(ids) == 1


def test_a_sweep_folds_what_nothing_reads(words):
    cold = [
        w
        for w in words
        if w.partition("=")[0] not in ("init", "rho", "proposer.corruption", "remask.scope", "remask.bias", "remask")
    ]
    plans = [planned([*cold, "init=mask", f"rho={rho}", "remask=linear"], multirun=True) for rho in (0.1, 0.5)]
    assert plans[0].run_id == plans[1].run_id == planned([*cold, "init=mask"]).run_id
    assert any("rho=0.1" in w for w in plans[0].warnings) and any("remask" in w for w in plans[0].warnings)


def test_a_torn_last_line_is_dropped(tmp_path):
    file = tmp_path / "rows.jsonl"
    append_lines(file, [{"id": 1}, {"id": 2}])
    with file.open("ab") as handle:
        handle.write(b'{"id": 3, "te')
    assert read_lines(file) == [{"id": 1}, {"id": 2}]
    append_lines(file, [{"id": 4}])
    assert read_lines(file) == [{"id": 1}, {"id": 2}, {"id": 4}]
    assert file.read_bytes().count(b"\n") == 3


def test_a_resumed_run_equals_an_undisturbed_one(words, tmp_path):
    words = [*words, "batch_size=2", "share=false"]
    undisturbed, torn = planned(words), planned([*words, f"outputs={tmp_path}/torn"])
    run(undisturbed, say=lambda _: None)
    torn.folder.mkdir(parents=True)
    lines = (undisturbed.folder / "records.jsonl").read_bytes().splitlines(keepends=True)
    (torn.folder / "records.jsonl").write_bytes(b"".join(lines[3:6]) + lines[0][:40])
    said: list[str] = []
    run(torn, said.append)
    assert any("resumed" in s and "3 of 9" in s for s in said)
    assert records(torn.folder) == records(undisturbed.folder)
    assert list(records(torn.folder)) == list(records(undisturbed.folder))


@pytest.mark.slow  # the default suite's kill is test_kills.py's
def test_kill_9_in_the_middle_then_again(words, tmp_path):
    """A real process, really killed: started again it goes on, and the records equal those of an undisturbed run."""
    words = [w for w in words if not w.startswith("task.limit")] + [
        "task.limit=30",
        "batch_size=2",
        "length.canvas_length=64",
    ]
    undisturbed = planned(words)
    run(undisturbed, say=lambda _: None)
    command = [sys.executable, "-m", "warmexp", *words, f"outputs={tmp_path}/killed"]
    file = tmp_path / "killed" / undisturbed.run_id / "records.jsonl"
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while (
        time.monotonic() < deadline
        and process.poll() is None
        and (not file.exists() or file.read_bytes().count(b"\n") < 4)
    ):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = len(read_lines(file))
    assert 0 < done < 30, f"the kill came too early or too late ({done} of 30)"
    assert not (file.parent / "summary.json").exists()
    again = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
    assert again.returncode == 0 and "resumed" in again.stdout, again.stderr
    assert records(file.parent) == records(undisturbed.folder)
    third = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
    assert third.returncode == 0 and "reused" in third.stdout


def test_two_processes_do_not_share_a_folder(words):
    from filelock import FileLock

    plan = planned(words)
    plan.folder.mkdir(parents=True)
    with FileLock(plan.folder / ".lock"), pytest.raises(UserError, match="another process"):
        run(plan, say=lambda _: None)


def test_a_failed_run_keeps_its_records(words, monkeypatch):
    plan = planned([*words, "batch_size=3"])
    import warmexp.runs.run as module

    real = module.stream

    def fails_after_three(*arguments):
        yield from islice(real(*arguments), 3)
        raise ValueError

    monkeypatch.setattr(module, "stream", fails_after_three)
    with pytest.raises(ValueError):
        run(plan, say=lambda _: None)
    assert len(read_lines(plan.folder / "records.jsonl")) == 3
    monkeypatch.setattr(module, "stream", real)
    assert run(planned(words), say=lambda _: None)["n"] == 9


def test_a_full_disk_is_one_sentence_and_loses_nothing(words, monkeypatch):
    plan = planned([*words, "batch_size=3"])
    real, calls = os.fsync, []

    def full(descriptor):
        calls.append(1)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr("warmexp.runs.run.SAVE_EVERY", 0)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        run(plan, say=lambda _: None)
    monkeypatch.setattr(os, "fsync", real)
    assert len(read_lines(plan.folder / "records.jsonl")) >= 1
    assert run(planned(words), say=lambda _: None)["n"] == 9


def out_of_memory_above(size: int, real, sizes: list[int]):
    """`stream`, failing like a device that holds no more than `size` questions: after one is finished, while others are
    on their way."""

    def stream(backbone, questions, strategies, seed, meter, batch_size):
        sizes.append(batch_size)
        done = real(backbone, questions, strategies, seed, meter, batch_size)
        if batch_size > size:
            yield next(done)
            raise torch.OutOfMemoryError("CUDA out of memory.")
        yield from done

    return stream


@pytest.mark.parametrize(
    ("change", "size"),
    [([], 1), *(pytest.param(*more, marks=pytest.mark.slow) for more in (([], 3), (["proposer=self"], 2)))],
)
def test_out_of_memory_halves_the_batch_and_loses_nothing(words, tmp_path, monkeypatch, change, size):
    """Records, forwards counted among them, equal those of an undisturbed run; the smaller size stays for the rest."""
    if change:
        words = [w for w in words if not w.startswith("proposer")]
    words = [*words, *change, "batch_size=7", "share=false"]
    undisturbed, tight = planned(words), planned([*words, f"outputs={tmp_path}/tight"])
    run(undisturbed, say=lambda _: None)
    import warmexp.runs.run as module

    sizes: list[int] = []
    said: list[str] = []
    monkeypatch.setattr(module, "stream", out_of_memory_above(size, module.stream, sizes))
    run(tight, said.append)
    expected, found = records(undisturbed.folder), records(tight.folder)
    for row in (*expected.values(), *found.values()):
        row["proposal"].pop("seconds")  # the backbone writes its own proposals in this run
    assert found == expected and list(found) == list(expected)
    assert sizes == {3: [7, 4, 2], 1: [7, 4, 2, 1], 2: [7, 4, 2]}[size]
    failed = sizes[:-1]
    assert [s for s in said if "memory" in s] == [
        f"out of memory at batch size {n}: going on with {(n + 1) // 2}" for n in failed
    ]


def test_one_question_that_does_not_fit_is_one_sentence(words, monkeypatch):
    import warmexp.runs.run as module

    plan = planned([*words, "batch_size=3"])
    real, sizes = module.stream, []

    def never(*arguments):
        sizes.append(arguments[-1])
        raise torch.OutOfMemoryError

    monkeypatch.setattr(module, "stream", never)
    with pytest.raises(UserError) as caught:
        run(plan, say=lambda _: None)
    for part in (
        "out of memory at batch size 1",
        "device=cpu cannot hold",
        "backbone.dtype=bfloat16",
        "length.canvas_length=24",
    ):
        assert part in str(caught.value)
    longest = 24 + max(map(len, plan.prompts.values()))
    assert f"one question of {longest} tokens" in str(caught.value) and "the same command goes on" in str(caught.value)
    for useless in ("proposer.resident", "cache=none"):  # nothing of the kind is in memory
        assert useless not in str(caught.value)
    assert sizes == [3, 2, 1]
    monkeypatch.setattr(module, "stream", real)
    assert run(planned(words), say=lambda _: None)["n"] == 9


def test_keys_and_values_that_do_not_fit_can_be_left_out(words, monkeypatch):
    def never(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr("warmexp.runs.run.stream", never)
    with pytest.raises(UserError, match="cache=none"):
        run(planned([*words, "cache=dual"]), say=lambda _: None)


def test_no_other_error_halves_a_batch(words, monkeypatch):
    import warmexp.runs.run as module

    calls = []

    def fails(*_):
        calls.append(1)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(module, "stream", fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        run(planned(words), say=lambda _: None)
    assert len(calls) == 1


def test_what_ran_out_is_freed_before_the_next_try():
    """The tensors of a failed batch hang on the error's traceback; they must be gone when the batch is done again."""
    import weakref

    from warmexp.runs.batches import halving

    alive: list[weakref.ref] = []

    def work(batch):
        assert not any(kept() is not None for kept in alive)
        big = torch.zeros(8)
        alive.append(weakref.ref(big))
        if len(batch) > 1:
            raise torch.OutOfMemoryError
        return sum(batch)

    assert list(halving([[1, 2, 3], [4], [5, 6]], work, lambda _: None, "")) == [([i], i) for i in range(1, 7)]
