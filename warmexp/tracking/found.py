"""What there is to send at or below some folders: finished runs in their groups, and studies with their fronts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from warmexp.tracking import folders


@dataclass(frozen=True)
class Item:
    """A finished run in one group, or (front given) a study.

    study: the group, None for a run outside studies. config: the run's, or that of a run of the study.
    """

    folder: Path
    study: str | None
    config: dict[str, Any] = field(repr=False)
    front: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return f"study {self.study}" if self.front else self.folder.name + (f" (study {self.study})" if self.study else "")

    @property
    def tracker(self) -> dict[str, Any]:
        """How the run was tracked when it was computed: project, entity, group; empty where it was not."""
        own = self.config.get("tracker") or {}
        return {key: own[key] for key in ("project", "entity", "group") if own.get(key)}


def find(roots: list[Path]) -> tuple[list[Item], list[str]]:
    """Runs, then studies; and a sentence for each run that cannot be sent.

    A run goes to the group of every study that lists it, and to that of the study it was computed in; a study's folder stands for its
    runs.
    """
    from warmexp.analysis.points import collect

    studies = [study for root in roots for study in _study_folders(root)]
    listed = {study: list(_runs_of(study)) for study in studies}
    points, left_out = collect([root for root in roots if root not in studies], "flexible")
    asked = [(folder, study.name) for study in studies for folder in listed[study]]
    for folder in (point.folder.resolve() for point in points):
        name = (folders.config(folder).get("study") or {}).get("name")
        if name or folder not in [run for run, _ in asked]:
            asked.append((folder, name))
    runs = [Item(folder, name, folders.config(folder)) for folder, name in dict.fromkeys(asked)]
    fronts = [
        Item(study, study.name, folders.config(listed[study][0]), front) for study in studies if listed[study] and (front := _front(study))
    ]
    return [*runs, *fronts], left_out


def _study_folders(root: Path) -> Iterator[Path]:
    if (root / "jobs").is_dir():
        yield root
    elif (root / "studies").is_dir():
        yield from sorted(folder for folder in (root / "studies").iterdir() if (folder / "jobs").is_dir())


def _runs_of(study: Path) -> Iterator[Path]:
    """The finished runs of a study; their folders are relative to the folder that holds `studies/`."""
    for file in sorted((study / "jobs").glob("*.json")):
        try:
            name = json.loads(file.read_text(encoding="utf-8")).get("folder")
            if name and folders.finished(study.parent.parent / name):
                yield (study.parent.parent / name).resolve()
        except (OSError, ValueError, AttributeError, TypeError):
            continue


def _front(study: Path) -> dict[str, Any] | None:
    try:
        front = json.loads((study / "front" / "front.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return front if isinstance(front, dict) and front.get("format") == 1 else None
