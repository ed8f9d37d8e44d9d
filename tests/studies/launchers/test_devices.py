"""Jobs of one machine never share a GPU: the pool of devices, with real processes and made-up devices."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from warmexp.runs import devices

HOLDER = """
import sys, time
from warmexp.runs import devices
devices._devices = lambda: {"cuda:0": "GPU-a", "cuda:1": "GPU-b"}
with devices.own_device(lambda sentence: print(sentence, flush=True)) as device:
    print(device, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """Starts a process that takes a device, says which, and keeps it until it is killed or told to end."""
    started = []

    def start() -> subprocess.Popen:
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER],
            stdin=pipe,
            stdout=pipe,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_two_jobs_take_two_devices_and_a_third_waits_for_one_that_is_killed(holder):
    first, second = holder(), holder()
    taken = {first: first.stdout.readline().strip(), second: second.stdout.readline().strip()}
    assert sorted(taken.values()) == ["cuda:0", "cuda:1"]
    third = holder()
    assert "all 2 CUDA devices are taken" in third.stdout.readline()
    second.kill()
    assert third.stdout.readline().strip() == taken[second]


def test_a_job_takes_the_device_its_process_had_before(monkeypatch, tmp_path):
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(devices, "_devices", lambda: {"cuda:0": "GPU-a", "cuda:1": "GPU-b"})
    monkeypatch.setattr(devices, "_last", [])
    with devices.own_device(print) as outer, devices.own_device(print) as inner:
        assert (outer, inner) == ("cuda:0", "cuda:1")
    with devices.own_device(print) as again:
        assert again == "cuda:1", "taken last, so it is where this process has its model"


def test_without_a_gpu_there_is_nothing_to_share(monkeypatch):
    monkeypatch.setattr(devices, "_devices", dict)
    with devices.own_device(print) as device:
        assert device == "cpu"


@pytest.mark.parametrize(
    ("launcher", "device", "expected"),
    [
        ("local", "auto", "cuda:own"),
        ("slurm", "auto", "cuda:own"),
        ("local", "cuda", "cuda"),
        ("basic", "auto", "cuda"),
    ],
)
def test_only_a_job_beside_others_that_may_choose_takes_a_device_of_its_own(launcher, device, expected, monkeypatch):
    from types import SimpleNamespace

    from warmexp.api import planned
    from warmexp.studies.job import _apart

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    made = planned([f"device={device}", "task.limit=2"])
    target = {
        "local": "hydra_plugins.x.Local",
        "slurm": "hydra_plugins.x.Slurm",
        "basic": "hydra._internal.core_plugins.BasicLauncher",
    }
    runtime = SimpleNamespace(launcher=SimpleNamespace(_target_=target[launcher]))
    assert _apart(made, runtime).device == expected


def test_a_plan_runs_on_the_device_it_was_given(monkeypatch, tmp_path):
    from warmexp.api import planned

    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(devices, "_devices", lambda: {"cuda:0": "GPU-a", "cuda:1": "GPU-b"})
    monkeypatch.setattr(devices, "_last", [])
    made = planned(["task.limit=2"])
    apart = devices.replace(made, device=devices.OWN)
    with (
        devices.placed(apart, print) as one,
        devices.placed(apart, print) as other,
        devices.placed(made, print) as plain,
    ):
        assert (one.device, other.device, plain.device) == ("cuda:0", "cuda:1", "cpu")
