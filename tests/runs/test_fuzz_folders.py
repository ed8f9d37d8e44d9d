"""Damaged folders, by the hundred, from fixed seeds: no traceback, no hang, no run that is whole left out, no record
lost.

`-m slow` tries thousands. A failure names its seed: `tried(…, [seed])` is that one alone.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import signal
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from tests.mutations import damage
from warmexp.analysis.analysis import analyse
from warmexp.analysis.points import collect
from warmexp.api import planned, run_overrides
from warmexp.errors import UserError
from warmexp.proposers.proposal import Asked, Proposal, Proposer
from warmexp.proposers.store import proposals_for
from warmexp.report.export import csv_text, write_front
from warmexp.report.html.content import blocks
from warmexp.report.table import print_table
from warmexp.runs.run import run
from warmexp.studies.folder import Job, StudyFolder
from warmexp.studies.sweep import Point, print_forecast
from warmexp.tracking import backfill

QUICK, LONG = range(24), range(1000, 4000)
PARTS = 30  # of the long tests: no part comes near the time limit of a test
PATIENCE = 60  # seconds for what takes a tenth of one


class Hang(BaseException):
    """Not an Exception, so that nothing takes it for a failure of its own."""


@contextmanager
def patience(seconds: int = PATIENCE):
    def ring(*_):
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, checkpoint) -> Path:
    """An outputs folder: a study of a cold and a warm start, and a third run that is never damaged."""
    outputs = tmp_path_factory.mktemp("whole") / "outputs"
    words = [
        "backbone=checkpoint", f"backbone.path={checkpoint}", "length.canvas_length=16", "length.block_length=8", "tau=0.3",
        "proposer=oracle", "task.limit=4", "device=cpu", f"outputs={outputs}",
    ]  # fmt: skip
    study = StudyFolder(outputs / "studies" / "s")
    jobs = []
    for number, more in enumerate(
        (["init=mask"], ["init=token_inject", "rho=0.5", "remask=linear"], ["init=mask", "tau=0.4"])
    ):
        _, folder = run_overrides([*words, *more, "study.name=s"])
        jobs.append(Job(number, tuple(more), " ".join(more), folder.name, folder.name, "finished", None, 1.0))
        shutil.rmtree(folder / "figures", ignore_errors=True)
    study.ask(jobs[:2], name="s", baseline="init=mask remask=none")
    for job in jobs[:2]:
        study.write(job)
    write_front(analyse(collect(outputs)[0]), study.folder / "front")
    (study.folder / "front" / "report.html").unlink()
    (outputs / jobs[0].folder / "wandb.json").write_text(
        json.dumps(
            [{"server": "s", "entity": None, "project": "p", "key": "k", "group": None, "online": True, "where": "w"}]
        )
    )
    (outputs / jobs[2].folder).rename(outputs / "kept")
    return outputs


def tried(
    whole: Path, tmp_path: Path, seeds: Iterable[int], files: str, use: Callable[[Path, str, random.Random], None]
) -> None:
    """Damage a copy (once, or a few times), use it, for every seed."""
    for seed in seeds:
        rng = random.Random(f"{files} {seed}")
        copy = tmp_path / "outputs"
        shutil.copytree(whole, copy)
        there = [file for file in sorted(copy.glob(files)) if file.is_file() and not file.name.startswith(".")]
        there = [file for file in there if "kept" not in file.parts]
        done = []
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            if left := [file for file in there if file.is_file()]:  # the damage before may have taken the last
                done.append(damage(rng, left))
        try:
            with patience():
                use(copy, ", ".join(done), rng)
        except BaseException as error:
            error.add_note(f"seed {seed}, {files}: {', '.join(done)}")
            raise
        shutil.rmtree(copy)


def shown(copy: Path, done: str, rng: random.Random, pictures: bool = False) -> None:
    """A front of the folder: the run that is whole is in it, and each of the others is in it or left out with its
    reason."""
    accuracy = rng.choice(("strict", "flexible"))
    points, left_out = collect([copy], accuracy)
    front = analyse(points, x=rng.choice(("nfe", "seconds", "full_forward_equivalents")), left_out=left_out)
    names = {run.point.folder.name for run in front.runs}
    assert "kept" in names, done
    for folder in copy.iterdir():
        if folder.name not in (*names, "studies", "proposals", "loop", "again"):
            assert any(folder.name in sentence for sentence in front.left_out), (done, folder.name, front.left_out)
    json.dumps(front.to_json(), allow_nan=False)
    csv_text(front.to_json()).encode("utf-8", "replace")
    print_table(front, Console(file=io.StringIO(), width=160))
    if pictures or rng.random() < 0.2:
        assert all(block for _, block in blocks(front, "t"))
    if pictures:
        write_front(front, copy / "front")


def counted(copy: Path, done: str, rng: random.Random) -> None:
    """The study's own lists, its forecast, and what the tracker would be sent."""
    study = StudyFolder(copy / "studies" / "s")
    words = ("init=mask",)
    for job in study.states():
        assert isinstance(job.number, int)
    study.asked()
    with_refusals(lambda: study.job(words, 0))
    folders = [folder for folder in copy.iterdir() if folder.name.startswith("lab-")]
    choices = dict.fromkeys(("backbone", "init", "proposer", "unmask", "remask"), "x")
    print_forecast([Point(words, folder.name, folder, 4, choices) for folder in folders])
    points, left_out = collect([study.folder])
    analyse(points, left_out=left_out)
    assert backfill.main([str(copy), "--offline", "--dry-run"]) in (0, 1)
    assert backfill.main([str(study.folder), "--offline", "--dry-run"]) in (0, 1, 2)


def with_refusals(action: Callable[[], object]) -> None:
    """A refusal is an answer as well."""
    try:
        action()
    except UserError as error:
        assert str(error).count("\n") == 0 and len(str(error)) < 1500


RUNS = "lab-*/*"
STUDY = "studies/s/**/*.json"


def test_fronts_of_damaged_runs(whole, tmp_path):
    tried(whole, tmp_path, QUICK, RUNS, shown)


def test_fronts_of_damaged_studies(whole, tmp_path):
    tried(whole, tmp_path, QUICK[:10], STUDY, shown)


def test_lists_of_damaged_runs_and_studies(whole, tmp_path, quiet_home, capsys):
    tried(whole, tmp_path, QUICK[:10], STUDY, counted)
    tried(whole, tmp_path, QUICK[:10], RUNS, counted)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_thousands_of_damaged_folders(whole, tmp_path, quiet_home, capsys, part):
    seeds = LONG[part::PARTS]
    tried(whole, tmp_path, seeds, RUNS, shown)
    tried(whole, tmp_path, seeds[::2], STUDY, shown)
    tried(whole, tmp_path, seeds, RUNS, counted)
    tried(whole, tmp_path, seeds[::2], STUDY, counted)
    tried(whole, tmp_path, seeds[::30], RUNS, lambda *what: shown(*what, pictures=True))


def resumed(words: list[str], before: dict[str, dict], seeds: Iterable[int], monkeypatch) -> None:
    """A run that goes on from a damaged folder refuses in a sentence, or ends with every question right."""
    monkeypatch.setattr("warmexp.runs.run._figures", lambda folder, records: [])
    plan = planned(words)
    for seed in seeds:
        rng = random.Random(f"resume {seed}")
        shutil.rmtree(plan.folder.parent)
        plan.folder.mkdir(parents=True)
        lines = [json.dumps(record) + "\n" for record in before.values()][: rng.randrange(1, 5)]
        (plan.folder / "records.jsonl").write_text("".join(lines))
        (plan.folder / "environment.json").write_text("{}")
        if rng.random() < 0.3:
            (plan.folder / "summary.json").write_text(json.dumps({"status": "finished", "run_id": plan.run_id, "n": 4}))
        done = damage(rng, sorted(plan.folder.glob("*.json*")))
        lost = []
        try:
            with patience():
                try:
                    run(plan, say=lambda _: None)
                except UserError as error:
                    lost.append(str(error))
        except BaseException as error:
            error.add_note(f"seed {seed}: {done}")
            raise
        if lost:
            assert lost[0].count("\n") == 0 and len(lost[0]) < 1500
            continue
        # A line ends at a newline alone: JSON may hold other line separators as they are.
        kept = [line for line in (plan.folder / "records.jsonl").read_text().split("\n") if line]
        after = {record["id"]: record for record in map(json.loads, kept)}
        assert after.keys() == before.keys(), (seed, done)
        for line in lines:  # what was whole is there as it was, to the digit of its seconds
            record = json.loads(line)
            assert after[record["id"]]["ids"] == record["ids"] or "records" in done, (seed, done)


@pytest.fixture
def undisturbed(checkpoint, quiet_home) -> tuple[list[str], dict[str, dict]]:
    words = [
        "backbone=checkpoint", f"backbone.path={checkpoint}", "length.canvas_length=16", "length.block_length=8", "tau=0.3",
        "init=token_inject", "proposer=oracle", "rho=0.5", "task.limit=4", "device=cpu", f"outputs={quiet_home}/outputs",
    ]  # fmt: skip
    _, folder = run_overrides(words)
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return words, {record["id"]: record for record in records}


@pytest.mark.slow
def test_runs_that_go_on_from_damaged_folders(undisturbed, monkeypatch):
    resumed(*undisturbed, QUICK[:10], monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_hundreds_of_runs_that_go_on(undisturbed, monkeypatch, part):
    resumed(*undisturbed, LONG[:800][part::PARTS], monkeypatch)


class Author(Proposer):
    """Writes the question's own id."""

    stored = True

    def identity(self):
        return {"kind": "author"}

    def propose(self, questions, device, seed, progress):
        yield from ((q.id, Proposal(q.id, ((0, 1, -0.5),), 0.25, -0.1)) for q in questions)


def stores(folder: Path, seeds: Iterable[int]) -> None:
    """A damaged store is named; a proposal that it gives is one of the right kind."""
    questions = [Asked(f"q{i}", f"prompt {i}", "") for i in range(4)]
    for seed in seeds:
        rng = random.Random(f"store {seed}")
        shutil.rmtree(folder, ignore_errors=True)
        proposals_for(Author(), questions, folder, "cpu", 0, lambda *_: None)
        done = damage(rng, list(folder.glob("*.jsonl")))
        try:
            with patience():
                with_refusals(lambda: _asked(questions, folder))
        except BaseException as error:
            error.add_note(f"seed {seed}: {done}")
            raise


def _asked(questions: list[Asked], folder: Path) -> None:
    found = proposals_for(Author(), questions, folder, "cpu", 0, lambda *_: None)
    assert all(
        isinstance(p.text, str) and p.seconds >= 0 and all(a <= b <= len(p.text) for a, b, _ in p.tokens)
        for p in found.values()
    )


def test_damaged_stores_of_proposals(tmp_path):
    stores(tmp_path / "proposals", range(60))


@pytest.mark.slow
def test_thousands_of_damaged_stores(tmp_path):
    stores(tmp_path / "proposals", LONG)
