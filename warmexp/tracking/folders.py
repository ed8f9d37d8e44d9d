"""Finished run folders, read for a tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from warmexp.errors import UserError
from warmexp.io import read_json
from warmexp.runs import stored
from warmexp.stored_config import read_config


def config(folder: Path) -> dict[str, Any]:
    """config.yaml. Raises ValueError, a sentence that names the folder."""
    return read_config(folder)


def study_of(config: dict[str, Any]) -> str | None:
    """The study in which a run was computed; None outside studies."""
    study = config.get("study")
    name = study.get("name") if isinstance(study, dict) else None
    return name if isinstance(name, str) else None


def finished(folder: Path) -> bool:
    """Whether summary.json says so."""
    return stored.finished(folder) is not None


def summary(folder: Path) -> dict[str, Any]:
    return stored.read_summary(folder)


def records(folder: Path, most: int) -> list[dict[str, Any]]:
    """The first records, at most `most`."""
    return stored.read_records(folder)[:most]


def figures(folder: Path) -> list[Path]:
    return sorted((folder / "figures").glob("*.png"))


def environment(folder: Path) -> dict[str, Any]:
    """environment.json, empty where it cannot be read."""
    try:
        return read_json(folder / "environment.json")
    except UserError:
        return {}
