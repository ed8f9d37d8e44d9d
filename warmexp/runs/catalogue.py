"""All runs below a folder, with their settings and results, found at once however many there are.

Reading a configuration takes milliseconds, so what was read is kept in `<outputs>/.runs.json`, and a run is read again
where its files have another time or size. The file may be deleted at any time; where it cannot be written, nothing is
kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from warmexp.console import visible
from warmexp.errors import UserError, closest
from warmexp.io import read_json, write_text
from warmexp.runs.stored import finished
from warmexp.secrets import without_secrets
from warmexp.stored_config import read_config

FINISHED, UNFINISHED, RUNNING, FAILED, DAMAGED = "finished", "unfinished", "running", "failed", "damaged"
STATUSES = (FINISHED, UNFINISHED, RUNNING, FAILED, DAMAGED)
KEPT = ".runs.json"
_VERSION = 1
# Not a run's settings: where it was made, and what other keys say again.
_LEFT_OUT = ("run_id", "labels.", "identity.", "study.", "tracker.")

Value = str | int | float | bool | None


@dataclass
class Run:
    """A run's folder.

    status: one of STATUSES; failed where a study's job says so and it is not finished. settings: the configuration's
    leaves as dotted keys, the chosen options under their groups' names. summary: of a finished run. reason: why it
    failed, or what is wrong with its files. records: lines of records.jsonl, of questions.
    """

    name: str
    folder: Path | None
    status: str
    settings: dict[str, Value] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None
    records: int = 0
    questions: int | None = None
    changed: float = 0.0  # seconds since 1970
    studies: tuple[str, ...] = ()


def catalogue(outputs: Path) -> list[Run]:
    """The runs that lie directly in an outputs folder, the last changed last.

    Raises:
        UserError: there is no such folder.
    """
    if not outputs.is_dir():
        raise UserError(f"--outputs {outputs} is not a folder: name the one that runs were written to.")
    kept = _kept(outputs)
    read: dict[str, dict[str, Any]] = {}
    jobs = list(_jobs(outputs))
    failed = {str(job["folder"]): job for job in jobs if job["status"] == FAILED and job["folder"]}
    studies: dict[str, list[str]] = {}
    for job in jobs:
        studies.setdefault(str(job["folder"]), []).append(job["study"])
    runs = []
    for entry in os.scandir(outputs):
        if entry.name.startswith(".") or entry.name in ("studies", "proposals") or not entry.is_dir():
            continue
        folder = outputs / entry.name
        stamp = [_stamp(folder / name) for name in ("config.yaml", "summary.json", "records.jsonl")]
        if stamp == [None, None, None] and not (folder / ".lock").exists():
            continue  # no run's folder
        known = kept.get(entry.name)
        row = known if known and known["stamp"] == stamp else _read(folder, stamp)
        read[entry.name] = row
        runs.append(_run(folder, row, failed.get(entry.name), tuple(dict.fromkeys(studies.get(entry.name, ())))))
    runs += [
        Run(job["label"], None, FAILED, reason=job["reason"], studies=(job["study"],), changed=job["changed"])
        for job in jobs
        if job["status"] == FAILED and not job["folder"]
    ]
    if read != kept:
        _keep(outputs, read)
    return sorted(runs, key=lambda run: (run.changed, run.name))


def named(runs: list[Run], name: str) -> Run:
    """The run of a name, of the beginning of one, or of the beginning of its hash; a path of its folder does as well.

    Raises:
        UserError: there is none, or several.
    """
    name = name.rstrip("/").rpartition("/")[2]
    there = [run for run in runs if run.folder is not None]
    found = [run for run in there if run.name == name]
    found = found or [run for run in there if run.name.startswith(name) or run.name.rpartition("-")[2].startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(run.name for run in found[:8]) + (", …" if len(found) > 8 else "")
        raise UserError(f"{name} is the beginning of {len(found)} runs ({some}): give more of the name.")
    raise UserError(
        f"{name} is no run here{closest(name, [run.name for run in there])}: `python -m warmexp.runs list` shows them."
    )


def flat(node: Any, prefix: str = "") -> Iterator[tuple[str, Value]]:
    """The leaves of nested mappings as (dotted key, value); a list is one value, as text."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from flat(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(node, list):
        yield prefix, json.dumps(node, ensure_ascii=False)
    else:
        yield prefix, node


def _settings(config: dict[str, Any]) -> dict[str, Value]:
    choices = config.get("choices")
    leaves = dict(flat({key: value for key, value in config.items() if key != "choices"}))
    chosen = {str(group): option for group, option in choices.items()} if isinstance(choices, dict) else {}
    kept = {
        key: value
        for key, value in leaves.items()
        if not key.endswith("_target_") and not key.startswith(_LEFT_OUT) and key not in chosen
    }
    return chosen | kept


def _read(folder: Path, stamp: list[Any]) -> dict[str, Any]:
    """What is kept of a folder: plain values only."""
    row: dict[str, Any] = {
        "stamp": stamp,
        "settings": {},
        "summary": {},
        "reason": None,
        "records": 0,
        "questions": None,
    }
    try:
        row["settings"] = _settings(read_config(folder))
    except ValueError as error:
        row["reason"] = visible(str(error)) if stamp[0] or stamp[1] else None
    summary = finished(folder) if stamp[1] else None
    if summary is not None:
        row["summary"] = {
            key: value for key, value in without_secrets(summary).items() if key not in ("run_id", "status")
        }
    elif stamp[1]:
        row["reason"] = f"{folder}: summary.json is not that of a finished run"
    if summary is None and stamp[2]:
        with (folder / "records.jsonl").open("rb") as lines:
            row["records"] = sum(1 for _ in lines)
    try:
        row["questions"] = len(read_json(folder / "questions.json")["ids"])
    except (UserError, KeyError, TypeError):
        row["questions"] = row["summary"].get("n")
    return row


def _run(folder: Path, row: dict[str, Any], failed: dict[str, Any] | None, studies: tuple[str, ...]) -> Run:
    status, reason = FINISHED if row["summary"] else UNFINISHED, row["reason"]
    if status == UNFINISHED and _busy(folder):
        status = RUNNING
    elif reason:
        status = DAMAGED
    elif status == UNFINISHED and failed:
        status, reason = FAILED, failed["reason"]
    records = row["summary"].get("n", row["records"])
    changed = max((stamp[0] for stamp in row["stamp"] if stamp), default=0) / 1e9
    return Run(
        folder.name,
        folder,
        status,
        row["settings"],
        row["summary"],
        reason,
        records,
        row["questions"],
        changed,
        studies,
    )


def _busy(folder: Path) -> bool:
    """Whether a process holds the run's lock."""
    if not (folder / ".lock").exists():
        return False
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False
    lock.release()
    return False


def _jobs(outputs: Path) -> Iterator[dict[str, Any]]:
    """What the studies' jobs said of themselves."""
    for file in sorted((outputs / "studies").glob("*/jobs/*.json")):
        try:
            job = read_json(file)
        except UserError:
            continue
        yield {
            "study": file.parent.parent.name,
            "folder": job.get("folder"),
            "status": job.get("status"),
            "label": visible(str(job.get("label"))),
            "reason": visible(str(job.get("reason"))),
            "changed": file.stat().st_mtime,
        }


def _stamp(file: Path) -> list[int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return [found.st_mtime_ns, found.st_size]


def _kept(outputs: Path) -> dict[str, dict[str, Any]]:
    try:
        found = read_json(outputs / KEPT)
    except UserError:
        return {}
    rows = found.get("runs")
    if found.get("version") != _VERSION or not isinstance(rows, dict):
        return {}
    keys = {"stamp", "settings", "summary", "reason", "records", "questions"}
    return {name: row for name, row in rows.items() if isinstance(row, dict) and row.keys() == keys}


def _keep(outputs: Path, rows: dict[str, dict[str, Any]]) -> None:
    try:
        write_text(outputs / KEPT, json.dumps({"version": _VERSION, "runs": rows}, ensure_ascii=False) + "\n")
    except UserError:
        return
