"""Under what circumstances a run's seconds were measured. They change no answer and no count, and two runs' seconds
compare where they are the same. Read from the run's config.yaml and environment.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from warmexp.errors import UserError
from warmexp.io import read_json
from warmexp.stored_config import read_config

ASKED = ("batch_size", "engine", "share")
FOUND = {"device": "device", "threads": "threads", "dtype": "dtype", "gpu": "GPU", "cpu": "processor"}


def circumstances(config: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Name -> value, what is not known left out. `share=auto` is what it stands for where the device is known."""
    try:
        there = read_json(folder / "environment.json")
    except UserError:
        there = {}
    told = {name: str(config[name]).lower() for name in ASKED if config.get(name) is not None}
    told |= {shown: str(there[name]) for name, shown in FOUND.items() if there.get(name) is not None}
    if told.get("share") == "auto" and "device" in told:
        told["share"] = str(told["device"] == "cpu").lower()
    return told


def other_seconds(folder: Path, asked: Mapping[str, Any]) -> str | None:
    """A clause where a finished run's seconds are not those of what is asked for now; None where they are, or nobody
    knows.

    asked: the configuration of the command, of which batch_size, engine and share are read.
    """
    try:
        stored = read_config(folder)
    except ValueError:
        return None
    differing = [key for key in ASKED if key in stored and str(stored[key]).lower() != str(asked.get(key)).lower()]
    if not differing:
        return None
    then, now = (", ".join(f"{key}={str(config.get(key)).lower()}" for key in differing) for config in (stored, asked))
    return f"its answers and counts are those of {now}, its seconds are those of {then}"
