"""A study's folder, `<outputs>/studies/<name>/`: what was asked for, and what each job says of itself, whoever runs it
and wherever.

`study.json` is written by the process that was asked for the study, `jobs/<number>.json` by the jobs. Whether a run is
finished is always read from the run's own folder; these files say how it came to that, and why not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from warmexp.errors import UserError
from warmexp.io import read_bytes, write_json
from warmexp.runs.stored import FOLDER
from warmexp.studies.named import essence, essences, is_neutral

RUNNING, FINISHED, FAILED = "running", "finished", "failed"


@dataclass(frozen=True)
class Job:
    """One job.

    number: from 0. overrides: a command line; label: what tells it from the others. run_id, folder (relative to
    outputs): None before they are known. status: None, running, finished or failed; reason: of a failure. seconds: that
    the job took, reuse included.
    """

    __pydantic_config__ = ConfigDict(strict=True, allow_inf_nan=False)
    number: Annotated[int, Field(ge=0, le=2**31)]
    overrides: tuple[str, ...]
    label: str
    run_id: str | None = None
    folder: Annotated[str, Field(pattern=FOLDER)] | None = None
    status: str | None = None
    reason: str | None = None
    seconds: Annotated[float, Field(ge=0)] | None = None

    def with_(self, **changes: Any) -> Job:
        return replace(self, **changes)


class _Asked(TypedDict):
    __pydantic_config__ = ConfigDict(strict=True)
    jobs: list[Job]


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
        """The jobs of the study, without their states; None where nobody wrote them down (a search has no list of
        jobs)."""
        try:
            return _jobs.validate_json(read_bytes(self.folder / "study.json"))["jobs"]
        except (UserError, ValidationError):
            return None

    def states(self) -> list[Job]:
        """What the jobs said of themselves, in the order of their numbers."""
        found = [_read(file) for file in self.jobs.glob("*.json")]
        return sorted((job for job in found if job is not None), key=lambda job: job.number)

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
            raise UserError(
                f"{self.folder} cannot be written ({error.strerror}): choose another outputs=FOLDER."
            ) from None

    def file(self, number: int) -> Path:
        return self.jobs / f"{number}.json"

    def job(self, overrides: Sequence[str], at_least: int) -> Job:
        """The job that a command line is: the study's own, else one with the first number from `at_least` that is no
        other job's."""
        mine = essence(overrides)
        for job in self.asked() or ():
            if _written(job) == mine:
                return job
        number = at_least
        while (there := _read(self.file(number))) is not None and _written(there) != mine:
            number += 1
        return Job(number, tuple(overrides), there.label if there else labels([overrides])[0])


def labels(overrides: Sequence[Sequence[str]]) -> list[str]:
    """What is shown of each job: the words that say what is run, without those that all of the study's jobs share."""
    words = [set(one) for one in essences(overrides)]
    shared = set.intersection(*words) if len(words) > 1 else set()
    return [
        " ".join(word for word in one if word in mine - shared) or "the defaults"
        for one, mine in zip(overrides, words, strict=True)
    ]


def _written(job: Job) -> tuple[str, ...]:
    """The essence of what a file holds, from which secrets were taken when it was written."""
    return tuple(sorted(word for word in job.overrides if not is_neutral(word)))


def _read(file: Path) -> Job | None:
    """None where nobody wrote it, or where it is damaged: what it said is then found out again."""
    try:
        return _job.validate_json(read_bytes(file))
    except (UserError, ValidationError):
        return None


_job, _jobs = TypeAdapter(Job), TypeAdapter(_Asked)
