"""Finished run folders, read for a tracker."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

from warmexp.stored_config import read_config


def config(folder: Path) -> dict[str, Any]:
    """config.yaml. Raises ValueError, a sentence that names the folder."""
    return read_config(folder)


def finished(folder: Path) -> bool:
    """Whether summary.json says so."""
    try:
        return summary(folder).get("status") == "finished"
    except (OSError, ValueError, TypeError):
        return False


def summary(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "summary.json").read_text(encoding="utf-8")))


def records(folder: Path, most: int) -> list[dict[str, Any]]:
    """The first records, at most `most`."""
    with (folder / "records.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in islice(lines, most)]


def figures(folder: Path) -> list[Path]:
    return sorted((folder / "figures").glob("*.png"))


def environment(folder: Path) -> dict[str, Any]:
    """environment.json, empty where it cannot be read."""
    try:
        return dict(json.loads((folder / "environment.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
