"""A study's folder, `<outputs>/studies/<name>/`: what was asked for, and what each job says of itself, whoever runs it and wherever.

`study.json` is written by the process that was asked for the study, `jobs/<number>.json` by the jobs. Whether a run is finished is
always read from the run's own folder; these files say how it came to that, and why not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from warmexp.errors import UserError
from warmexp.io import write_json
from warmexp.studies.named import essence

RUNNING, FINISHED, FAILED = "running", "finished", "failed"


@dataclass(frozen=True)
class Job:
    """One job.

    number: from 0. overrides: a command line; label: what tells it from the others. run_id, folder (relative to outputs): None before
    they are known. status: None, running, finished or failed; reason: of a failure. seconds: that the job took, reuse included.
    """

    number: int
    overrides: tuple[str, ...]
    label: str
    run_id: str | None = None
    folder: str | None = None
    status: str | None = None
    reason: str | None = None
    seconds: float | None = None

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Job:
        return cls(**{**values, "overrides": tuple(values["overrides"])})

    def with_(self, **changes: Any) -> Job:
        return replace(self, **changes)


class StudyFolder:
    """Reads and writes the files of a study's folder."""

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.jobs = self.folder / "jobs"

    def ask(self, asked: Sequence[Job], **about: Any) -> None:
        """Write down which jobs the study has. about: its name and baseline."""
        self._make()
        jobs = [{key: value for key, value in asdict(job).items() if value is not None} for job in asked]
        write_json(self.folder / "study.json", {**about, "jobs": jobs})

    def asked(self) -> list[Job] | None:
        """The jobs of the study, without their states; None where nobody wrote them down (a search has no list of jobs)."""
        values = _read(self.folder / "study.json")
        return None if values is None else [Job.from_json(job) for job in values["jobs"]]

    def states(self) -> list[Job]:
        """What the jobs said of themselves, in the order of their numbers."""
        found = [_read(file) for file in self.jobs.glob("*.json")]
        return sorted((Job.from_json(values) for values in found if values is not None), key=lambda job: job.number)

    def write(self, job: Job) -> None:
        self._make()
        write_json(self.file(job.number), asdict(job))

    def forget(self, job: Job) -> None:
        """Before a job is tried again: what it said the last time."""
        self.file(job.number).unlink(missing_ok=True)

    def _make(self) -> None:
        try:
            self.jobs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.folder} cannot be written ({error.strerror}): choose another outputs=FOLDER.") from None

    def file(self, number: int) -> Path:
        return self.jobs / f"{number}.json"

    def job(self, overrides: Sequence[str], at_least: int) -> Job:
        """The job that a command line is: the study's own, else one with the first number from `at_least` that is no other job's."""
        mine = essence(overrides)
        for job in self.asked() or ():
            if essence(job.overrides) == mine:
                return job
        number = at_least
        while (there := _read(self.file(number))) is not None and essence(there["overrides"]) != mine:
            number += 1
        return Job(number, tuple(overrides), labels([overrides])[0])


def labels(overrides: Sequence[Sequence[str]]) -> list[str]:
    """What is shown of each job: the words that say what is run, without those that all of the study's jobs share."""
    words = [essence(one) for one in overrides]
    shared = set(words[0]).intersection(*words) if len(words) > 1 else set()
    return [" ".join(word for word in one if word in set(essence(one)) - shared) or "the defaults" for one in overrides]


def _read(file: Path) -> dict[str, Any] | None:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
