"""Several jobs on one machine: each takes a CUDA device of its own, by a lock that the operating
system frees when the job's process ends.

Only `device=auto`, and a list of devices under a launcher of several processes, are shared out like this. Who names a
device (`device=cuda:0`, `device=cuda`) gets it, alone or not.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import Timeout

from warmexp.locks import Lock

if TYPE_CHECKING:
    from warmexp.config.plan import Plan

OWN = "cuda:own"  # the device of a plan that is to take one which no other job holds

_POLL_SECONDS = 1.0
# The device this process had last: taken again where it is free, so that a model which is loaded stays of use.
_last: list[str] = []


@contextmanager
def placed(plan: Plan, say: Callable[[str], None]) -> Iterator[Plan]:
    """The plan on the device that it runs on: its own, held while the context lasts, where `device` is OWN."""
    if plan.device != OWN:
        yield plan
        return
    with own_device(say, plan.devices) as device:
        yield replace(plan, device=device, devices=(device,))


@contextmanager
def own_device(say: Callable[[str], None], among: tuple[str, ...] = ()) -> Iterator[str]:
    """A CUDA device that no other job of this user on this machine holds, waited for if need be; `cpu` where there is
    none.

    say: told once when all devices are taken. among: one of these, or `cuda`: any.
    """
    names = {device: uuid for device, uuid in _devices().items() if device in among or len(among) < 2}
    if not names:
        yield "cpu"
        return
    device, lock = _take(names, say)
    _last[:] = [device]
    try:
        yield device
    finally:
        lock.release()


def _take(names: dict[str, str], say: Callable[[str], None]) -> tuple[str, Lock]:
    order = sorted(names, key=lambda device: device not in _last)
    waiting = False
    while True:
        for device in order:
            lock = Lock(_lock_folder() / f"{names[device]}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            return device, lock
        if not waiting:
            say(f"all {len(order)} CUDA devices are taken by other jobs: waiting for one (device=cuda would share).")
            waiting = True
        time.sleep(_POLL_SECONDS)


def _devices() -> dict[str, str]:
    """cuda:N -> the device's UUID: CUDA_VISIBLE_DEVICES renumbers devices, and two jobs may count them differently."""
    import torch

    return {f"cuda:{i}": str(torch.cuda.get_device_properties(i).uuid) for i in range(torch.cuda.device_count())}


def _lock_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"warmexp-devices-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
