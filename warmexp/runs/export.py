"""Runs as one file that pandas, polars or a spreadsheet opens: a row per run, or a row per question."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from warmexp.config.keys import DECIDING
from warmexp.errors import UserError
from warmexp.io import check_writable, table_text, write_bytes
from warmexp.runs.catalogue import FINISHED, Run, flat
from warmexp.runs.stored import read_records

KINDS = (".parquet", ".csv")
# Per position, or long: they stay in records.jsonl.
_LEFT_OUT = ("ids", "commit_iteration", "source", "confidence", "revocations", "correct_after")
_OF_A_PROPOSAL = ("text", "ids", "trust", "calibrated", "score", "straddles")


def export(runs: Sequence[Run], file: Path, questions: bool, say: Callable[[str], None]) -> int:
    """Write a table and return its number of rows.

    file: its ending says which kind, .parquet or .csv. questions: a row per question of the finished runs; otherwise a
    row per run. say: told of runs that cannot be read.
    Raises:
        UserError: another ending, a file that cannot be written, nothing to write.
    """
    if file.suffix not in KINDS:
        raise UserError(f"{file} ends in neither .parquet nor .csv: give a file's name with one of them.")
    check_writable("the folder of the table,", file.parent)
    rows = list(_questions(runs, say) if questions else map(run_row, runs))
    if not rows:
        raise UserError("there is no run to write: give other conditions, or none.")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = [{key: row.get(key) for key in columns} for row in rows]
    as_text = file.suffix == ".csv"
    write_bytes(file, table_text(table).encode("utf-8", "replace") if as_text else _parquet(table))
    return len(rows)


def run_row(run: Run) -> dict[str, Any]:
    """A run as plain values: what it is, what it was asked for, what it came to; intervals as two numbers."""
    own = {
        "run": run.name,
        "folder": str(run.folder) if run.folder else None,
        "status": run.status,
        "reason": run.reason,
        "studies": " ".join(run.studies),
        "records": run.records,
        "questions": run.questions,
    }
    results: dict[str, Any] = {}
    for key, value in run.summary.items():
        if isinstance(value, list | tuple) and len(value) == 2:
            results |= {f"{key}_low": value[0], f"{key}_high": value[1]}
        elif not isinstance(value, dict | list):
            results[key] = value
    return (
        own | run.settings | {f"{key}" if key not in own else f"result.{key}": value for key, value in results.items()}
    )


def _questions(runs: Sequence[Run], say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    for run in runs:
        if run.status != FINISHED:
            continue
        try:
            records = read_records(run.folder)
        except UserError as error:
            say(f"left out: {error}")
            continue
        asked = (
            {"run": run.name}
            | {group: run.settings.get(group) for group in DECIDING}
            | {"seed": run.settings.get("seed")}
        )
        for record in records:
            kept = {key: value for key, value in record.items() if key not in _LEFT_OUT}
            if kept.get("proposal"):
                kept["proposal"] = {k: v for k, v in kept["proposal"].items() if k not in _OF_A_PROPOSAL} | {
                    "text": kept["proposal"].get("text")
                }
            yield asked | dict(flat(kept)) | {"revocations": len(record.get("revocations") or ())}


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    def column(key: str) -> Any:
        values = [row[key] for row in rows]
        kinds = {type(value) for value in values if value is not None}
        if kinds == {int, float}:
            values = [None if value is None else float(value) for value in values]
        elif len(kinds) > 1:  # one option's number is another's word
            values = [None if value is None else str(value) for value in values]
        return pyarrow.array(values)

    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({key: column(key) for key in rows[0]}), out, compression="zstd")
    return out.getvalue()
