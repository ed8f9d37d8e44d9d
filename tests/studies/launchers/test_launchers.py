"""The same study through every launcher, with equal records, also when jobs are killed."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.studies.launchers.records import command, records, said
from warmexp.api import run_overrides

SLURM = Path(__file__).with_name("slurm.sh")
SMALL = ["init=token_inject", "proposer=lab_weak", "task.limit=4"]
STUDY = ["-m", "init=token_inject,embed_interp", "proposer=lab_weak", "tau=0.7,0.8,0.9", "task.limit=24"]

needs_joblib = pytest.mark.skipif(
    importlib.util.find_spec("joblib") is None, reason="hydra-joblib-launcher is not installed"
)
HIDE = """
import sys
for name in ("joblib_launcher", "submitit_launcher"):
    sys.modules[f"hydra_plugins.hydra_{name}"] = None
sys.modules["optuna"] = None
from warmexp.__main__ import main
words = sys.argv[1:]
for option in ("hydra/launcher=local", "hydra/launcher=slurm", "hydra/launcher=joblib", "hydra/sweeper=search"):
    sys.argv[1:] = [*words, option]
    try:
        main()
    except SystemExit as end:
        print("status", end.code)
"""


def test_a_launcher_that_is_not_installed_says_how_to_get_it(tmp_path):
    words = ["-m", "tau=0.7,0.9", "task.limit=2", f"outputs={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-c", HIDE, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120
    )
    assert done.stdout.split("\n")[:4] == ["status 2"] * 4
    assert done.stderr.count("\n") == 4 and done.stderr.count("pip install 'warmexp[sweeps]'") == 4


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> dict[str, list]:
    """The records of the small study in one process."""
    outputs = tmp_path_factory.mktemp("one")
    for tau in (0.7, 0.9):
        run_overrides([*SMALL, f"tau={tau}", f"outputs={outputs}"])
    return records(outputs)


@pytest.mark.slow
@needs_joblib
def test_two_processes_give_the_records_of_one(small, tmp_path):
    said(["-m", *SMALL, "tau=0.7,0.9", "hydra/launcher=local", "hydra.launcher.n_jobs=2"], tmp_path)
    assert len(small) == 2 and records(tmp_path) == small


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> dict[str, list]:
    """The records of the study in one process."""
    outputs = tmp_path_factory.mktemp("one")
    said(STUDY, outputs)
    return records(outputs)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The environment of a Slurm that runs on this machine."""
    missing = [
        program
        for program in ("munged", "slurmctld", "slurmd")
        if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin") is None
    ]
    if missing or importlib.util.find_spec("submitit") is None:
        pytest.skip(f"Slurm is not here (missing: {', '.join(missing) or 'submitit'})")
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run([SLURM, "start", folder], check=True, timeout=60)
    yield {"SLURM_CONF": str(folder / "slurm.conf")}
    subprocess.run([SLURM, "stop", folder], check=True, timeout=60)


@pytest.mark.slow
@needs_joblib
def test_a_killed_worker_costs_no_job(study, tmp_path):
    with command([*STUDY, "hydra/launcher=local", "hydra.launcher.n_jobs=2"], tmp_path) as process:
        os.kill(_worker(process.pid, tmp_path), signal.SIGKILL)
        text, _ = process.communicate(timeout=900)
    assert process.returncode == 0, text
    assert records(tmp_path) == study


@pytest.mark.slow
@needs_joblib
def test_two_studies_at_once_on_the_same_outputs(study, tmp_path):
    with (
        command([*STUDY, "hydra/launcher=local", "hydra.launcher.n_jobs=2"], tmp_path) as one,
        command(STUDY, tmp_path) as other,
    ):
        texts = [process.communicate(timeout=900)[0] for process in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), texts
    assert records(tmp_path) == study


@pytest.mark.slow
def test_slurm_gives_the_records_of_one_process(slurm, study, tmp_path):
    said([*STUDY, "hydra/launcher=slurm"], tmp_path, **slurm)
    assert len(study) == 6 and records(tmp_path) == study


@pytest.mark.slow
def test_slurm_a_cancelled_job_fails_alone_and_is_done_the_next_time(slurm, study, tmp_path):
    with command([*STUDY, "hydra/launcher=slurm"], tmp_path, **slurm) as process:
        cancelled = _running_job(slurm, tmp_path)
        subprocess.run(["scancel", cancelled], check=True, env={**os.environ, **slurm})
        text, _ = process.communicate(timeout=900)
    assert process.returncode == 1 and f"Slurm ended job {cancelled}" in text and "1 failed" in text
    assert len(list(tmp_path.glob("*/summary.json"))) == 5
    said([*STUDY, "hydra/launcher=slurm"], tmp_path, **slurm)
    assert records(tmp_path) == study


@pytest.mark.slow
def test_slurm_a_job_near_its_time_limit_is_requeued_and_goes_on(slurm, study, tmp_path):
    """What submitit has Slurm send to a job's process before its time limit is SIGUSR2; here the test sends it."""
    with command([*STUDY, "hydra/launcher=slurm"], tmp_path, **slurm) as process:
        os.kill(_worker(process.pid, tmp_path), signal.SIGUSR2)
        text, _ = process.communicate(timeout=900)
    assert process.returncode == 0, text
    assert records(tmp_path) == study
    logs = "".join(file.read_text() for file in tmp_path.glob("studies/*/.submitit/*/*_log.err"))
    assert "requeue" in logs.lower(), "the job was put back into the queue"


def _running_job(slurm: dict[str, str], outputs: Path) -> str:
    """A job of the array that Slurm runs and that has begun to work."""
    asked = ["squeue", "--noheader", "--array", "--me", "--states=RUNNING", "--format=%i"]
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        for job in subprocess.run(asked, capture_output=True, text=True, env={**os.environ, **slurm}).stdout.split():
            (state,) = list(outputs.glob(f"studies/*/jobs/{job.partition('_')[2]}.json")) or [None]
            if state and json.loads(state.read_text())["status"] == "running":
                return job
        time.sleep(0.1)
    raise AssertionError("no job began to work")


def _worker(parent: int, outputs: Path) -> int:
    """The process that works on a run (holds its folder's lock), which is a child of the parent."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                files = [os.readlink(link) for link in (process / "fd").iterdir()]
            except OSError:
                continue
            if int(process.name) != parent and any(
                file.startswith(str(outputs)) and file.endswith(".lock") for file in files
            ):
                return int(process.name)
        time.sleep(0.1)
    raise AssertionError("no worker began to run")
