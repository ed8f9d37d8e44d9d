"""What there is to send at or below some folders: finished runs in their groups, and studies with their fronts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from warmexp.errors import UserError
from warmexp.io import read_json
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
        return (
            f"study {self.study}" if self.front else self.folder.name + (f" (study {self.study})" if self.study else "")
        )

    @property
    def tracker(self) -> dict[str, Any]:
        """How the run was tracked when it was computed: project, entity, group; empty where it was not."""
        own = self.config.get("tracker")
        own = own if isinstance(own, dict) else {}
        return {key: own[key] for key in ("project", "entity", "group") if isinstance(own.get(key), str) and own[key]}


def find(roots: list[Path]) -> tuple[list[Item], list[str]]:
    """Runs, then studies; and a sentence for each run that cannot be sent.

    A run goes to the group of every study that lists it, and to that of the study it was computed in; a study's folder
    stands for its runs.
    """
    from warmexp.analysis.points import collect

    studies = [study for root in roots for study in _study_folders(root)]
    points, left_out = collect([root for root in roots if root not in studies], "flexible")
    listed = {study: list(_runs_of(study, left_out)) for study in studies}
    asked = [(folder, study.name) for study in studies for folder in listed[study]]
    configs = {
        folder: config
        for folder in dict.fromkeys(folder for folder, _ in asked)
        if (config := _config(folder, left_out))
    }
    for folder in (point.folder.resolve() for point in points):
        config = configs.get(folder) or _config(folder, left_out)
        if config is None:
            continue
        configs[folder], name = config, folders.study_of(config)
        if name or folder not in [run for run, _ in asked]:
            asked.append((folder, name))
    runs = [Item(folder, name, configs[folder]) for folder, name in dict.fromkeys(asked) if folder in configs]
    firsts = {study: next((configs[run] for run in listed[study] if run in configs), None) for study in studies}
    fronts = [
        Item(study, study.name, config, front)
        for study, config in firsts.items()
        if config and (front := _front(study))
    ]
    return [*runs, *fronts], list(dict.fromkeys(left_out))


def _config(folder: Path, left_out: list[str]) -> dict[str, Any] | None:
    try:
        return folders.config(folder)
    except (UserError, ValueError) as error:
        left_out.append(str(error))
        return None


def _study_folders(root: Path) -> Iterator[Path]:
    if (root / "jobs").is_dir():
        yield root
    elif (root / "studies").is_dir():
        yield from sorted(folder for folder in (root / "studies").iterdir() if (folder / "jobs").is_dir())


def _runs_of(study: Path, left_out: list[str]) -> Iterator[Path]:
    """The finished runs of a study; their folders are relative to the folder that holds `studies/`."""
    from warmexp.analysis.points import named_runs

    for folder in named_runs(study, left_out):
        if folders.finished(folder):
            yield folder.resolve()


def _front(study: Path) -> dict[str, Any] | None:
    try:
        front = read_json(study / "front" / "front.json")
    except UserError:
        return None
    from warmexp.analysis.result import FORMAT

    return front if front.get("format") == FORMAT else None
