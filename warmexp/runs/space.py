"""What run folders take on the disk, and taking away what is no longer wanted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from warmexp.errors import UserError
from warmexp.locks import Lock
from warmexp.runs.catalogue import KEPT, RUNNING, UNFINISHED, Run


@dataclass(frozen=True)
class Found:
    """Something that could go. why: in words."""

    path: Path
    why: str
    bytes: int


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links are not followed."""
    try:
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
        return sum(size_of(Path(entry.path)) for entry in os.scandir(path))
    except OSError:
        return 0


def sizes(outputs: Path, runs: Sequence[Run]) -> list[tuple[str, int]]:
    """(what, bytes), the largest first: the runs' records, their other files, studies, proposals, all else."""
    folders = [run.folder for run in runs if run.folder]
    records = sum(size_of(folder / "records.jsonl") for folder in folders)
    parts = {
        "records of runs": records,
        "pictures of runs": sum(size_of(folder / "figures") for folder in folders),
        "W&B's files of runs": sum(size_of(folder / "wandb") for folder in folders),
        "studies": size_of(outputs / "studies"),
        "proposals": size_of(outputs / "proposals"),
        f"the list of runs ({KEPT})": size_of(outputs / KEPT),
    }
    of_runs = sum(map(size_of, folders))
    parts["other files of runs"] = of_runs - records - parts["pictures of runs"] - parts["W&B's files of runs"]
    whole = size_of(outputs)
    known = of_runs + sum(parts[name] for name in ("studies", "proposals", f"the list of runs ({KEPT})"))
    parts["everything else"] = whole - known
    return sorted(((name, size) for name, size in parts.items() if size), key=lambda pair: -pair[1])


def prunable(outputs: Path, runs: Sequence[Run]) -> list[Found]:
    """What nothing needs: runs without a record, files that were never finished, studies without a run."""
    found = [
        Found(run.folder, "a run without a record", size_of(run.folder))
        for run in runs
        if run.folder and run.status == UNFINISHED and not run.records
    ]
    going = {one.path for one in found}
    found += [
        Found(file, "a file that was never finished", size_of(file))
        for file in sorted(outputs.rglob("*.part"))
        if not any(parent in going for parent in file.parents)
    ]
    there = {run.name for run in runs if run.folder and run.folder not in going}
    for study in sorted(path for path in (outputs / "studies").glob("*") if path.is_dir()):
        if any(study.rglob(".front.lock")) or (study / "study.json").exists():
            mine = {run.name for run in runs if study.name in run.studies}
            if not mine & there:
                found.append(Found(study, "a study none of whose runs is there", size_of(study)))
    return found


def remove(found: Iterable[Found]) -> int:
    """Delete; the bytes that were freed.

    Raises:
        UserError: a process works on a run, or something cannot be deleted.
    """
    freed = 0
    for one in found:
        try:
            if one.path.is_dir() and (one.path / ".lock").exists():
                lock = Lock(one.path / ".lock")
                lock.acquire(timeout=0)
                lock.release()
            if one.path.is_dir() and not one.path.is_symlink():
                shutil.rmtree(one.path)
            else:
                one.path.unlink(missing_ok=True)
        except Timeout:
            raise UserError(f"{one.path} is being worked on by a process: end it first.") from None
        except OSError as error:
            raise UserError(f"{one.path} cannot be deleted ({error.strerror}).") from None
        freed += one.bytes
    return freed


def refuse_running(runs: Iterable[Run]) -> None:
    """Raises UserError: a process works on one of the runs."""
    for run in runs:
        if run.status == RUNNING:
            raise UserError(
                f"{run.name} is being worked on by a process: end it first, or leave it out (status!=running)."
            )


def in_words(size: int) -> str:
    """Bytes for a person: 3.2 MiB."""
    value = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError
