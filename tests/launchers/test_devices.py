"""Jobs of one machine never share a GPU: the pool of devices, with real processes and made-up devices."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from warmexp import devices

HOLDER = """
import sys, time
from warmexp import devices
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
            [sys.executable, "-c", HOLDER], stdin=pipe, stdout=pipe, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
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
