"""The seam of trackers: when a run begins, what is told of it and how it ends, guarded, whatever the client behind it.

A tracker is a class with six small hooks into its client (`_open` … `_close`). Whatever a client does wrong becomes one
sentence and never fails a run. What was told of a finished run is noted in its folder (`<kind>.json`), so that it is
told once. Weights & Biases has a module of its own (wandb.py), for its modes, sweeps and workspaces.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from warmexp.errors import UserError, check_range
from warmexp.io import read_json, write_json
from warmexp.secrets import holds_secret, without_secrets
from warmexp.tracking import content, folders

_PROGRESS_SECONDS = 5.0
_said: set[tuple[Path, str | None, str]] = set()


@dataclass(frozen=True)
class Told:
    """A run as a client is told of it. key: the same whenever it is told again. config, tags: scalars, without
    secrets. folder: of the run or study. report: where the study's report shows it, relative to the outputs folder."""

    key: str
    name: str
    group: str | None
    job_type: str
    tags: list[str]
    config: dict[str, Any]
    folder: Path
    report: str | None


@dataclass
class Mirror:
    """project: under which name runs are kept. group: default: the study. tags: more words for every run. name: of a
    run; default: what it does, in words. sample_rows: records in the table of samples."""

    project: str = "warmexp"
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    name: str | None = None
    sample_rows: int = 20

    kind = ""  # of the tracker's option, and of the note in a folder
    title = ""  # for readers
    module = ""  # that its client needs

    def __post_init__(self) -> None:
        check_range("tracker.sample_rows", self.sample_rows, 0, 10**6, "the number of records in the table of samples")
        if not self.project.strip():
            raise UserError("tracker.project is empty: give it a name.")
        if self.module and find_spec(self.module.partition(".")[0]) is None:
            raise UserError(f"tracker={self.kind} needs a package: pip install 'warmexp[{self.kind}]'.")
        self.note: str | None = None
        self._told: Told | None = None
        self._broken = False
        self._next = 0.0

    # What a client has to do. Any of them may raise anything.

    def _open(self, told: Told) -> str:
        """Begin, or go on with, the run `told.key`. Where it can be looked at, as the end of a sentence."""
        raise NotImplementedError

    def _scalars(self, values: dict[str, float], step: int | None) -> None:
        raise NotImplementedError

    def _words(self, values: dict[str, str]) -> None:
        raise NotImplementedError

    def _table(self, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        raise NotImplementedError

    def _file(self, file: Path, name: str) -> None:
        """A picture (.png) or any other file."""
        raise NotImplementedError

    def _close(self, failed: bool) -> None:
        raise NotImplementedError

    def _place(self) -> str:
        """Which of a client's stores it is, without secrets."""
        return self.project

    # What the rest of the project calls.

    def start(self, run_id: str, config: dict[str, Any], folder: Path) -> None:
        """config: as in config.yaml."""
        group = content.group_of(config, self.group)
        self._begin(
            Told(
                key=content.run_key(run_id, group),
                name=without_secrets(self.name or content.run_name(config, run_id)),
                group=without_secrets(group),
                job_type="run",
                tags=without_secrets(content.tags(config, self.tags)),
                config=without_secrets(content.flat_config(config)),
                folder=folder,
                report=content.report_of(config, run_id),
            )
        )

    def progress(self, done: int, total: int, nfe_mean: float, accuracy: float) -> None:
        """Running means, at most every few seconds."""
        if time.monotonic() < self._next and done < total:
            return
        self._next = time.monotonic() + _PROGRESS_SECONDS
        self._attempt(lambda: self._scalars({"progress/nfe": nfe_mean, "progress/accuracy": accuracy}, done))

    def finish(self, summary: dict[str, Any], records: list[dict[str, Any]], figures: list[Path]) -> None:
        if self._told is None:
            return
        told, rows = self._told, without_secrets(content.samples(records[: self.sample_rows]))
        self._attempt(lambda: self._numbers(content.metrics(without_secrets(summary))))
        self._attempt(lambda: self._words(_texts(content.environment(folders.environment(told.folder)))))
        if rows:
            self._attempt(lambda: self._table("samples", content.SAMPLE_COLUMNS, rows))
        for figure in figures:
            self._attempt(lambda figure=figure: self._file(figure, f"figures/{figure.stem}"))
        self._end()

    def fail(self, reason: str) -> None:
        if self._told is not None:
            self._attempt(lambda: self._words({"status": "failed", "reason": without_secrets(reason)}))
            self._end(failed=True)

    def mirror(self, run_id: str, config: dict[str, Any], folder: Path) -> None:
        """Tell of a finished run, if that was not done yet."""
        self.note, self._told = None, None
        key = content.run_key(run_id, content.group_of(config, self.group))
        if self._has(folder, key, None):
            return
        self.start(run_id, config, folder)
        if not self._broken:
            self.finish(folders.summary(folder), folders.records(folder, self.sample_rows), folders.figures(folder))

    def study(self, front: dict[str, Any], folder: Path, name: str) -> str | None:
        """The front of a study as one more run, in the group of its runs. front: what front.json holds."""
        from warmexp.tracking.study import FRONT_FILES, rows_of, summary_of

        key, digest = content.study_key(name, front), content.digest(front)
        if self._has(folder, key, digest):
            return f"{self.title} has this front already."
        config = {
            "study": name,
            "baseline": front["baseline"]["selector"],
            "x": front["x"],
            "accuracy": front["accuracy"],
        }
        tags = sorted({run["task"] for run in front["runs"]} | {run["backbone"] for run in front["runs"]})
        self._begin(
            Told(
                key,
                f"study {name}",
                self.group or name,
                "study",
                [*tags, *self.tags],
                config,
                folder,
                content.REPORT.format(name),
            )
        )
        self._attempt(lambda: self._numbers(summary_of(front)))
        self._attempt(lambda: self._table("front", *rows_of(front)))
        for file in (folder / "front" / one for one in FRONT_FILES):
            if file.is_file() and not holds_secret(file):
                self._attempt(lambda file=file: self._file(file, f"front/{file.stem}"))
        self._end(digest=digest)
        return self.note

    def _begin(self, told: Told) -> None:
        self._told, self._broken, self._next, self.note = told, False, 0.0, None
        where: list[str] = []
        self._attempt(lambda: where.append(self._open(told)))
        if where:
            said = (told.folder.parent, told.group, f"{self.title}: {where[0]}")
            # The runs of a study are in one place, which is said once.
            self.note = None if told.job_type == "run" and told.report and said in _said else said[-1]
            _said.add(said)
            self._attempt(lambda: self._words({"report": told.report} if told.report else {}))

    def _numbers(self, values: dict[str, Any]) -> None:
        numbers = {key: value for key, value in values.items() if isinstance(value, (int, float))}
        self._scalars({key: float(value) for key, value in numbers.items()}, None)
        self._words(_texts({key: value for key, value in values.items() if key not in numbers}))

    def _attempt(self, action: Callable[[], Any]) -> None:
        """Into the client; after a first failure what follows is left out."""
        if self._told is None or self._broken:
            return
        try:
            action()
        except Exception as error:  # a tracker never fails a run
            self._break(error)

    def _break(self, error: Exception) -> None:
        from warmexp.tracking.client import first_line

        if not self._broken:
            self._broken = True
            said = without_secrets(first_line(error))
            self.note = f"warning: {self.title} tracking stopped ({said}); the run folder has everything."

    def _end(self, failed: bool = False, digest: str | None = None) -> None:
        """Close the run; one that is whole is noted down in its folder."""
        told, whole, self._told = self._told, not self._broken and not failed, None
        try:
            self._close(not whole)
            if whole and told is not None:
                entry = [self._place(), told.key, digest]
                others = [one for one in self._noted(told.folder) if one[:2] != entry[:2]]
                write_json(told.folder / f"{self.kind}.json", {"sent": [*others, entry]})
        except Exception as error:
            self._break(error)

    def _has(self, folder: Path, key: str, digest: str | None) -> bool:
        try:
            return [self._place(), key, digest] in self._noted(folder)
        except Exception:  # what is wrong is said when it is tried
            return False

    def _noted(self, folder: Path) -> list[list[Any]]:
        try:
            found = read_json(folder / f"{self.kind}.json").get("sent")
        except (UserError, OSError, AttributeError):
            return []
        return [one for one in found if isinstance(one, list) and len(one) == 3] if isinstance(found, list) else []


def already(tracker: Mirror, folder: Path, key: str, digest: str | None) -> bool:
    """Whether all of a run or study was told before. digest: of its front."""
    return tracker._has(folder, key, digest)


def _texts(values: dict[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items() if value is not None}


def quiet(**variables: str) -> None:
    """Set environment variables that keep a client from asking, waiting or reporting, unless the user has set them."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)
