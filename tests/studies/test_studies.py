"""Studies: named or not, folded, resumed, shared by several processes, and never lost."""

from __future__ import annotations

import importlib
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from tests.runs.test_run import records
from warmexp import __main__ as cli
from warmexp.api import planned
from warmexp.config.keys import sweeps_dir
from warmexp.errors import UserError
from warmexp.io import read_lines
from warmexp.studies import job as jobs
from warmexp.studies.fold import Point, fold
from warmexp.studies.folder import StudyFolder
from warmexp.studies.grids import grid_words
from warmexp.studies.named import register, study_name


@pytest.fixture
def study(quiet_home, capsys, monkeypatch):
    """Run a command line in this process: exit status, standard output, standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["warmexp", *words, "outputs=out"])
        monkeypatch.setattr(jobs, "_said", set())
        try:
            cli.main()
            status = 0
        except SystemExit as stop:
            status = stop.code
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def summaries(folder: Path = Path("out")) -> list[dict]:
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*/summary.json"))]


def states(name: str) -> list[dict]:
    files = sorted(Path("out", "studies", name, "jobs").glob("*.json"), key=lambda file: int(file.stem))
    return [json.loads(file.read_text()) for file in files]


def refuse(*_, **__):
    raise AssertionError("weights were loaded")


@pytest.mark.parametrize("words", [("tau=0.9",), ("-m", "tau=0.8,0.9")])
def test_a_job_that_hydra_sends_into_a_folder_of_its_own_reads_and_writes_where_it_would_without(study, words):
    """Questions by a relative path, a relative outputs, a study's folder: all are where the command was given."""
    Path("q.jsonl").write_text('{"id": "a", "question": "1+1?", "answer": "2"}\n', encoding="utf-8")
    asked = [
        *words,
        "task=jsonl",
        "task.path=q.jsonl",
        "study.name=s",
        "hydra.sweep.subdir=${hydra.job.num}",
        "hydra.run.dir=elsewhere",
    ]
    status, said, complaint = study(*asked, "hydra.job.chdir=true")
    assert status == 0, said + complaint
    assert (
        len(summaries()) == len(words) and not list(Path("out").rglob("out")) and not list(Path("elsewhere").rglob("*"))
    )
    if "-m" in words:
        assert [s["status"] for s in states("s")] == ["finished"] * 2 and Path(
            "out/studies/s/front/front.json"
        ).is_file()


def test_a_study_runs_by_name_and_again_in_no_time(study, monkeypatch):
    status, said, _ = study("-m", "+sweep=smoke", "task.limit=4")
    assert status == 0 and len(summaries()) == 4 and all(s["n"] == 4 for s in summaries())
    assert len({s["questions_sha256"] for s in summaries()}) == 1
    assert "[4/4] init=token_inject tau=0.9: " in said
    assert [s["number"] for s in states("smoke-task.limit=4")] == [0, 1, 2, 3]
    assert all(
        s["status"] == "finished" and Path("out", s["folder"], "summary.json").is_file()
        for s in states("smoke-task.limit=4")
    )
    front = Path("out/studies/smoke-task.limit=4/front")
    assert {file.name for file in front.iterdir()} == {"front.json", "front.csv", "front.png", "report.html"}
    assert len(json.loads((front / "front.json").read_text())["runs"]) == 4
    before = {file: file.stat().st_mtime_ns for file in Path("out").glob("lab-*/*") if file.is_file()}
    monkeypatch.setattr("warmexp.models.checkpoint.load_transformer", refuse)
    monkeypatch.setattr("warmexp.runs.run.stream", refuse)
    status, said, _ = study("-m", "+sweep=smoke", "task.limit=4")
    assert status == 0 and "4 jobs, 4 of them finished" in said and "token_inject" in said and "reused" not in said
    assert {file: file.stat().st_mtime_ns for file in before} == before


@pytest.mark.slow
def test_points_that_are_one_run_are_folded_with_a_sentence(study):
    status, said, _ = study(
        "-m",
        "init=mask,token_inject",
        "rho=0.2,0.4",
        "proposer=lab_weak,lab_strong",
        "remask=none,linear",
        "task.limit=2",
    )
    assert status == 0 and len(summaries()) == 9  # one cold start; two rates, two proposers, with and without remasking
    (line,) = [line for line in said.splitlines() if "folded" in line]
    assert line == (
        "7 of 16 points are the same run as another and are folded into it: rho, proposer, remask do nothing under"
        " init=mask"
    )
    assert "warning" not in said and "reused" not in said
    (cold,) = Path("out").glob("lab-mask-*/config.yaml")
    assert "rho: null" in cold.read_text()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([["unmask=topk", "tau=0.7"], ["unmask=topk", "tau=0.9"]], "tau does nothing under unmask=topk"),
        (
            [["experiment=paper/baseline", "tau=0.9"], ["experiment=paper/low_tau", "tau=0.9"]],
            "some are asked for more than once",
        ),
        ([["tau=0.9"], []], "some are asked for more than once"),
    ],
)
def test_why_points_fold(words, why):
    points = [Point(tuple(one), "same", Path("same"), 1, {"init": "mask", "unmask": "topk"}) for one in words]
    other = Point(("tau=1",), "other", Path("other"), 1, {})
    impossible = [Point((f"rho={rho}",), None, None, 0, {}, "no") for rho in (7, 8)]
    kept, sentence = fold([*points, other, *impossible])
    assert [point.overrides for point in kept] == [
        tuple(words[0]),
        *(point.overrides for point in (other, *impossible)),
    ]
    assert sentence == f"1 of 5 points are the same run as another and are folded into it: {why}"


@pytest.mark.slow
def test_models_stay_and_proposals_are_made_once(study, monkeypatch):
    """One backbone and two proposers: three loads for eight jobs, whatever their order."""
    import warmexp.runs.run
    from warmexp.models.checkpoint import Checkpoint
    from warmexp.proposers.hf import HFProposer, free_models

    warmexp.runs.run._free_backbone()
    free_models()
    loads, proposed = [], []

    def counted(real):
        return lambda self, *more: loads.append(self.path) or real(self, *more)

    monkeypatch.setattr(Checkpoint, "load", counted(Checkpoint.load))
    monkeypatch.setattr(HFProposer, "_load", counted(HFProposer._load))
    generate = HFProposer._generate
    monkeypatch.setattr(HFProposer, "_generate", lambda self, *more: proposed.extend(more[2]) or generate(self, *more))
    status, _, _ = study(
        "-m", "init=token_inject,embed_interp", "proposer=lab_weak,lab_strong", "tau=0.7,0.9", "task.limit=3"
    )
    assert status == 0 and len(summaries()) == 8
    assert sorted(loads) == ["lab:backbone", "lab:proposer_strong", "lab:proposer_weak"]
    assert len(proposed) == 2 * 3


@pytest.mark.slow
def test_a_failed_job_is_its_own(study, monkeypatch):
    """A mistake, a full disk, no memory, a bug: the others go on, the end says what failed and why, and it is tried
    again."""
    import warmexp.runs.run as module

    real, errors = module._run, {0.2: MemoryError(), 0.3: OSError(28, "No space left on device"), 0.4: KeyError("bug")}

    def fails(plan, say, stop):
        if plan.strategies.init.rho in errors:
            raise errors[plan.strategies.init.rho]
        return real(plan, say, stop)

    monkeypatch.setattr(module, "_run", fails)
    words = [
        "-m",
        "init=token_inject",
        "proposer=oracle",
        "rho=0.1,0.2,7,0.3,0.4,0.5",
        "task.limit=2",
        "study.name=failing",
    ]
    status, said, wrong = study(*words)
    assert status == 1 and len(summaries()) == 2 and "token_inject ρ=0.5" in said
    end = wrong[wrong.index("4 failed:") :]
    for part in (
        "rho=0.2: MemoryError",
        "rho=7: rho=7.0 is not in [0, 1]",
        "rho=0.3: OSError: [Errno 28] No space left",
        "rho=0.4: KeyError",
    ):
        assert part in end
    assert [s["status"] for s in states("failing")] == ["finished", "failed", "failed", "failed", "failed", "finished"]
    assert "in fails" in Path("out/studies/failing/jobs/4.traceback.txt").read_text()
    assert not list(Path("out/studies/failing/jobs").glob("2.traceback*"))
    errors.clear()
    status, said, wrong = study(*words)
    assert status == 1 and len(summaries()) == 5 and "1 failed:" in wrong and "6 jobs, 2 of them finished" in said
    assert [s["status"] for s in states("failing")].count("failed") == 1


def test_a_launcher_that_loses_a_job_does_not_lose_the_others(study, monkeypatch):
    """It gives up once, as joblib does where a worker is killed; then it returns one job as dead, as a cluster does."""
    Plugins.instance()  # which makes the class anew
    launcher = importlib.import_module("hydra._internal.core_plugins.basic_launcher").BasicLauncher
    real, calls = launcher.launch, []

    def loses(self, job_overrides, initial_job_idx):
        calls.append(len(job_overrides))
        if len(calls) == 1:
            real(self, job_overrides[:1], initial_job_idx)
            raise RuntimeError("a worker was killed")
        done = real(self, job_overrides[:-1], initial_job_idx)
        return [*done, JobReturn(status=JobStatus.FAILED, _return_value=RuntimeError("the node is gone"))]

    monkeypatch.setattr(launcher, "launch", loses)
    status, _, wrong = study("-m", "tau=0.5,0.7,0.9", "task.limit=2", "study.name=lost")
    assert status == 1 and calls == [3, 2] and len(summaries()) == 2
    assert "the launcher gave up: RuntimeError: a worker was killed" in wrong
    assert "1 failed:\n  tau=0.9: RuntimeError: the node is gone" in wrong
    assert [s["status"] for s in states("lost")] == ["finished", "finished", "failed"]


def test_a_search_that_comes_back_keeps_the_jobs_of_before(tmp_path):
    """Where nobody wrote down a list of jobs, a job has its own file, whatever number its launcher gives it."""
    folder = StudyFolder(tmp_path)
    first = folder.job(["tau=0.5", "device=cpu"], 0)
    folder.write(first)
    assert folder.job(["tau=0.5", "device=cuda:1"], 0).number == 0
    assert folder.job(["tau=0.6"], 0).number == 1
    assert folder.states() == [first] and folder.asked() is None


HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_busy_run_is_left_for_later(study, monkeypatch):
    """The first job's run is in other hands; the second is done meanwhile, then the first is waited for and taken
    over."""
    import warmexp.runs.run as module

    busy = planned(["tau=0.7", "task.limit=2", "outputs=out"]).folder
    busy.mkdir(parents=True)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, busy / ".lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    holder.stdout.readline()
    real, order, say = module._run, [], jobs.say

    def noted(plan, say, stop):
        order.append((plan.strategies.unmask.tau, holder.poll() is None))
        return real(plan, say, stop)

    def lets_go(sentence):
        say(sentence)
        if sentence.startswith("waiting"):
            holder.kill()
            holder.wait()

    monkeypatch.setattr(module, "_run", noted)
    monkeypatch.setattr(jobs, "say", lets_go)
    status, said, _ = study("-m", "tau=0.7,0.9", "task.limit=2")
    assert status == 0 and order == [(0.9, True), (0.7, False)]
    assert f"waiting for {busy}" in said and said.index("[2/2]") < said.index("[1/2]")


def test_a_study_of_mistakes_only_is_one_sentence(study):
    status, _, wrong = study("-m", "init=token_inject", "rho=7,7.0", "task.limit=2")
    assert status == 2 and wrong.startswith("warmexp: rho=7") and wrong.count("\n") == 1 and not Path("out").exists()


def test_an_interrupt_stops_at_once_and_says_how_to_go_on(study, monkeypatch):
    import warmexp.runs.run as module

    real, calls = module._run, []

    def interrupted(plan, say, stop):
        calls.append(plan)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(plan, say, stop)

    monkeypatch.setattr(module, "_run", interrupted)
    words = ["-m", "tau=0.5,0.7,0.9", "task.limit=2"]
    status, _, wrong = study(*words)
    assert status == 130 and "the same command goes on" in wrong and len(summaries()) == 1
    status, said, _ = study(*words)
    assert status == 0 and len(summaries()) == 3 and "3 jobs, 1 of them finished" in said


def test_a_tracker_is_told_of_every_run_and_of_the_study(study, monkeypatch):
    """Also of runs that were finished before anybody tracked them."""
    from warmexp.tracking import study as track
    from warmexp.tracking.wandb import WandbTracker

    told = []
    monkeypatch.setattr(
        WandbTracker, "mirror", lambda self, run_id, config, folder: told.append((run_id, config["study"]["name"]))
    )
    monkeypatch.setattr(
        track,
        "log_study",
        lambda tracker, front, folder, name: told.append((type(tracker).__name__, len(front.runs), name)),
    )
    words = ["-m", "tau=0.7,0.9", "task.limit=2", "study.name=mine"]
    assert study(*words)[0] == 0 and told == [("NoTracker", 2, "mine")]
    told.clear()
    assert study(*words, "tracker=wandb")[0] == 0
    assert told == [*((s["run_id"], "mine") for s in states("mine")), ("WandbTracker", 2, "mine")]


def test_a_front_that_cannot_be_written_hides_no_failure(study, monkeypatch):
    from warmexp.report import export

    def full(*_, **__):
        raise UserError("the disk is full.")

    monkeypatch.setattr(export, "write_front", full)
    status, _, wrong = study("-m", "init=token_inject", "proposer=oracle", "rho=0.5,7", "task.limit=2")
    assert status == 2 and "1 failed:\n  rho=7" in wrong and wrong.endswith("warmexp: the disk is full.\n")
    assert len(summaries()) == 1


def test_another_sweeper_has_no_dry_run(study):
    status, _, wrong = study("-m", "hydra/sweeper=basic", "--dry-run")
    assert status == 2 and "--dry-run" in wrong and wrong.count("\n") == 1


def test_points_that_differ_in_values_are_composed_once(study, monkeypatch):
    from warmexp.config.allowed import CheckedLoader

    composed, load = [], CheckedLoader.load_sweep_config
    monkeypatch.setattr(CheckedLoader, "load_sweep_config", lambda *a: composed.append(a[2]) or load(*a))
    status, said, _ = study("-m", "init=mask,token_inject", "tau=0.5,0.6,0.7,0.8,0.9", "task.limit=1", "--dry-run")
    assert status == 0 and "10 jobs" in said and composed == [["init=mask"], ["init=token_inject"]]


def test_a_named_study_composes_a_choice_and_looks_at_a_model_once(study, monkeypatch):
    from warmexp.config.allowed import CheckedLoader
    from warmexp.models.checkpoint import Checkpoint

    composed, load = [], CheckedLoader.load_sweep_config
    monkeypatch.setattr(CheckedLoader, "load_sweep_config", lambda *a: composed.append(a[2]) or load(*a))
    looked, identity = [], Checkpoint.identity
    monkeypatch.setattr(Checkpoint, "identity", lambda self: looked.append(self.path) or identity(self))
    status, said, _ = study("-m", "+sweep=smoke", "seed=range(0,3)", "task.limit=1", "--dry-run")
    assert status == 0 and "12 jobs" in said
    assert len(composed) == len({tuple(words) for words in composed}) == 2
    assert all("+sweep=smoke" in words and not any(word.startswith("seed") for word in words) for words in composed)
    assert looked == ["lab:backbone"] * 2  # its own, and whose prompts are kept


def test_labels_ask_what_is_secret_once_for_every_word(monkeypatch):
    from warmexp.studies import named
    from warmexp.studies.folder import labels

    asked, clean = [], named.clean_text
    monkeypatch.setattr(named, "clean_text", lambda text: asked.append(text) or clean(text))
    lines = [["init=mask", f"tau={tau}", f"seed={seed}", "outputs=x"] for tau in (1, 2, 3) for seed in range(4)]
    assert labels(lines)[:2] == ["tau=1 seed=0", "tau=1 seed=1"]
    assert sorted(asked) == sorted({word for line in lines for word in line} - {"outputs=x"})


def test_a_dry_run_runs_nothing(study, monkeypatch):
    monkeypatch.setattr("warmexp.models.checkpoint.load_transformer", refuse)
    monkeypatch.setattr("warmexp.runs.run._run", refuse)
    status, said, _ = study("-m", "+sweep=smoke", "task.limit=4", "--dry-run")
    assert status == 0 and "[1/4] init=mask tau=0.7: 4 questions" in said
    assert "left: 4 jobs, 16 questions, time unknown" in said and not Path("out").exists()
    monkeypatch.undo()


def test_a_dry_run_knows_what_is_done_and_how_long_the_rest_takes(study):
    study("-m", "+sweep=smoke", "task.limit=4", "init=mask")
    torn = next(Path("out").glob("lab-mask-*/summary.json"))
    torn.unlink()
    lines = (torn.parent / "records.jsonl").read_text().splitlines(keepends=True)
    (torn.parent / "records.jsonl").write_text("".join(lines[:3]))
    status, said, _ = study("-m", "+sweep=smoke", "task.limit=4", "--dry-run")
    assert status == 0 and "3 of 4 questions done" in said and said.count(": finished (") == 1
    assert "left: 3 jobs, 9 questions, about " in said


@pytest.mark.slow
def test_the_papers_table_on_the_lab(study):
    """Every row, on the same questions; the oracle and the second proposer keep their own proposals whatever the
    command line says."""
    status, said, _ = study("-m", "+sweep=table1", "task.limit=4", "proposer=lab_weak", "tau=0.9")
    assert status == 0 and "10 jobs" in said
    rows = summaries()
    assert len({s["questions_sha256"] for s in rows}) == 1
    (oracle,) = {s["proposal_accuracy_strict"] for s in rows if s["oracle"]}
    assert oracle == 1.0
    alone = [s for s in rows if s["nfe_mean"] == 0]
    assert len(alone) == 2 and all(s["accuracy_strict"] == s["proposal_accuracy_strict"] for s in alone)
    assert {s["run_id"].split("-")[2] for s in alone} == {"lab_weak", "lab_strong"}
    assert sum("length_hint" in s["run_id"] for s in rows) == 1


def test_the_papers_experiments_on_real_models_say_what_is_missing(study, monkeypatch):
    """No weights and no network: one sentence that names the checkpoint, within seconds."""
    from warmexp.models.hub import offline_if_unreachable

    offline_if_unreachable.cache_clear()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    status, _, said = study("experiment=paper/token_inject")
    offline_if_unreachable.cache_clear()
    assert (
        status == 2
        and said.count("\n") == 1
        and ("LLaDA-8B-Instruct" in said or "Llama-2-7b-hf" in said)
        and "hf download" in said
    )


@pytest.mark.parametrize(
    "name",
    [
        "threshold",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("injection_rate", "interpolation", "remask", "trust")),
    ],
)
def test_every_study_can_be_run_on_the_lab(name, study):
    """One τ, ρ and p of each; its file has the baseline's own front."""
    narrowed = {"injection_rate": ["rho=0.5"], "interpolation": ["p=0.5"]}.get(name, [])
    status, said, _ = study("-m", f"+sweep={name}", "task.limit=1", "tau=0.9", *narrowed, "--dry-run")
    assert status == 0 and "cannot be run" not in said and said.startswith(f"study {name}-") and "init=mask" in said
    written = OmegaConf.load(sweeps_dir() / f"{name}.yaml")
    assert written.study.baseline == "init=mask remask=none" and "0.5,0.6,0.7,0.8,0.9" in str(written.hydra.sweeper)


def test_the_shipped_studies():
    assert set(register()) >= {
        "demo",
        "drafts",
        "injection_rate",
        "interpolation",
        "lengths",
        "remask",
        "smoke",
        "table1",
        "table1_llada",
        "threshold",
        "trust",
        "zoo",
        "zoo_llada",
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zoo", "drafts", "lengths"])
def test_every_published_method_can_be_composed(name, study):
    status, said, _ = study("-m", f"+sweep={name}", "task.limit=1", "--dry-run")
    assert status == 0 and "cannot be run" not in said


@pytest.mark.slow
def test_their_published_settings_can_be_composed(study, monkeypatch):
    """On the lab, with a canvas as long as theirs; nothing is missing but the frequencies, which have to be counted."""
    lab = ["backbone=lab", "task=lab", "proposer=lab_strong", "length.canvas_length=256", "tau=0.9"]
    status, said, _ = study("-m", "+sweep=zoo_llada", "task.limit=1", *lab, "--dry-run")
    refused = [line for line in said.splitlines() if "cannot be run" in line]
    assert status == 0 and len(refused) == 1 and "python -m warmexp.frequencies" in refused[0], said


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["init=mask"], None),
        (["-m", "tau=0.7", "study.name=mine"], None),
        (["-m", "+sweep=smoke"], "smoke"),
        (
            [
                "+sweep=smoke",
                "outputs=/elsewhere",
                "device=cpu",
                "tracker=wandb",
                "hydra/launcher=joblib",
                "hydra.launcher.n_jobs=2",
            ],
            "smoke",
        ),
        (["-m", "+sweep=smoke", "tau=0.9", "rho=1"], "smoke-rho=1-tau=0.9"),
        (["-m", "rho=1", "+sweep=smoke", "tau=0.9"], "smoke-rho=1-tau=0.9"),
        (["--multirun", "tau=0.7,0.9"], "multirun-tau=0.7,0.9"),
        (["-m", "tau=0.7,0.9", "task.path=/a/b.jsonl"], "multirun-bd42f57e"),
    ],
)
def test_the_same_command_has_the_same_folder(words, name):
    assert study_name(words) == name


def test_the_command_line_wins_except_over_what_is_pinned():
    words = grid_words(
        "init=mask tau=0.5,0.9 !proposer=oracle 'task.stop=[a, b]'", ["seed=1"], ["tau=0.7", "proposer=lab_weak"]
    )
    assert words == ["seed=1", "init=mask", "tau=0.5,0.9", "proposer=oracle", "task.stop=[a, b]", "tau=0.7"]


COMMAND = [
    "init=token_inject",
    "proposer=oracle",
    "proposer.corruption=0.3",
    "rho=0.3,0.6",
    "tau=0.7,0.9",
    "task.limit=20",
    "batch_size=1",
]


# The command, which kill -9 ends when it has written its 25th record.
KILLED = """
import os, signal
import warmexp.runs.run as run
from warmexp.__main__ import main

write, written = run.append_lines, []

def append_lines(file, rows):
    write(file, rows)
    written.extend(rows)
    if len(written) >= 25:
        os.kill(os.getpid(), signal.SIGKILL)

run.SAVE_EVERY, run.append_lines = 0, append_lines
main()
"""


def start(outputs: Path, how: Sequence[str] = ("-m", "warmexp")) -> subprocess.Popen:
    command = [sys.executable, *how, "-m", *COMMAND, f"outputs={outputs}"]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def decoded(outputs: Path) -> int:
    return sum(len(read_lines(file)) for file in outputs.glob("*/records.jsonl"))


@pytest.mark.slow
def test_a_killed_study_goes_on_and_two_workers_share_one(study, tmp_path):
    """Real processes. One is killed with kill -9 within its second run; then two at once finish what it left, and
    nothing is done twice."""
    killed = start(tmp_path / "shared", ("-c", KILLED))
    said = killed.communicate(timeout=240)
    assert killed.returncode == -signal.SIGKILL, said
    (first,) = (tmp_path / "shared").glob("*/summary.json")
    kept = {file: file.stat().st_mtime_ns for file in first.parent.glob("*.json*")}
    assert decoded(tmp_path / "shared") == 25
    workers = [start(tmp_path / "shared"), start(tmp_path / "shared")]
    said = [worker.communicate(timeout=240) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    both = "".join(out for out, _ in said)
    assert both.count("resumed") == 1
    assert both.count(" % right") - both.count("reused") == 3, "every run was decoded by one of them"
    status, _, _ = study("-m", *COMMAND)
    assert status == 0
    alone, shared = sorted(Path("out").glob("lab-*")), sorted((tmp_path / "shared").glob("lab-*"))
    assert [folder.name for folder in alone] == [folder.name for folder in shared] and len(alone) == 4
    for one, other in zip(alone, shared, strict=True):
        assert len(read_lines(other / "records.jsonl")) == 20
        assert records(one) == records(other)


@pytest.mark.slow
def test_choices_of_a_search_keep_their_commas_spaces_braces_and_digits(study):
    """Written down and read again, `{prompt}, please` would be two values and 0.54321 another number."""
    pytest.importorskip("optuna", minversion="5.0")
    status, _, said = study(
        "-m", "hydra/sweeper=search", "hydra.sweeper.n_trials=4", "hydra.sweeper.sampler=random", "task.limit=1", "init=mask",
        "backbone.template=choice('{prompt}, please: ','{prompt}')", "tau=choice(0.54321,0.98765)", "study.name=s",
    )  # fmt: skip
    assert status == 0, said
    found = [OmegaConf.load(file) for file in Path("out").glob("lab-mask-*/config.yaml")]
    assert len(found) == 4 and {one.tau for one in found} == {0.54321, 0.98765}
    assert {one.backbone.template for one in found} == {"{prompt}, please: ", "{prompt}"}


@pytest.mark.slow
def test_choices_of_a_study_keep_their_commas_spaces_and_braces(study):
    stops = r"task.stop=['a, b'],['{x}',c],['\}']"
    status, _, complained = study(
        "-m", "task.limit=1", stops, r"backbone.template='{prompt}, please: ',\{prompt\}\,\ now", "study.name=s"
    )
    assert status == 0, complained
    found = [OmegaConf.load(file) for file in Path("out").glob("lab-mask-*/config.yaml")]
    assert {tuple(one.task.stop) for one in found} == {("a, b",), ("{x}", "c"), ("\\}",)}
    assert {one.backbone.template for one in found} == {"{prompt}, please: ", "{prompt}, now"}
