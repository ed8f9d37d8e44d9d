"""What two sets of runs must agree on: every field of every record but the seconds and the forwards that were
remembered."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def records(outputs: Path) -> dict[str, list[Any]]:
    """run id -> its records without their times, and without what depends on which process ran what before."""
    return {
        file.parent.name: [_timeless(json.loads(line)) for line in file.open()]
        for file in sorted(outputs.glob("*/records.jsonl"))
    }


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(part) for key, part in value.items() if not key.startswith(("seconds", "remembered"))}
    return [_timeless(part) for part in value] if isinstance(value, list) else value


@contextmanager
def command(words: list[str], outputs: Path, **environment: str) -> Iterator[subprocess.Popen]:
    """`python -m warmexp WORDS outputs=…`, started, with its output in a pipe and one thread per process; killed if
    still there after."""
    process = subprocess.Popen(
        [sys.executable, "-m", "warmexp", *words, f"outputs={outputs}"],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # a shell without job control has what it starts in the background ignore interrupts, and so all its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def said(words: list[str], outputs: Path, status: int = 0, **environment: str) -> str:
    """What a command line prints, run to its end."""
    with command(words, outputs, **environment) as process:
        text, _ = process.communicate(timeout=900)
    assert process.returncode == status, text
    return text
