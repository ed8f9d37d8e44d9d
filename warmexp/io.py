"""Whole lines or nothing: JSONL files that survive a kill at any byte, and JSON files that are replaced, never half written."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from warmexp.errors import UserError
from warmexp.jsonl import BadLine, lines, parse
from warmexp.secrets import json_without_secrets


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The complete lines of a JSONL file of ours; a torn last line (no newline, or no JSON) is left out.

    Raises:
        UserError: another line is damaged.
    """
    if not file.is_file():
        return []
    rows: list[dict[str, Any]] = []
    bad: BadLine | None = None
    try:
        for number, line in lines(file):
            if bad is not None:
                raise bad
            if not line.endswith(b"\n"):
                break
            try:
                row = parse(number, line)
            except BadLine as error:
                bad = error  # torn if it is the last one
                continue
            if row is not None:
                rows.append(row)
    except BadLine as error:
        why = f"{file}, line {error.number} is damaged (it {error.why})"
        raise UserError(f"{why}: remove that line, or the file, and run again.") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror or error}).") from None
    return rows


def append_lines(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Append rows as whole lines and push them to the disk. A torn last line is cut off first."""
    data = b"".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for row in rows)
    try:
        with file.open("ab+") as handle:
            end = handle.seek(0, os.SEEK_END)
            handle.truncate(_last_newline(handle, end))
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror}): free some space or choose another outputs=FOLDER; what was "
                        "computed so far is kept and the same command goes on from there.") from None  # fmt: skip


def _last_newline(handle, end: int) -> int:
    """Position just after the last newline of a file of `end` bytes."""
    step = 1 << 16
    at = end
    while at > 0:
        start = max(0, at - step)
        handle.seek(start)
        found = handle.read(at - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        at = start
    return 0


def write_text(file: Path, text: str) -> None:
    """Replace a file in one step, whoever else is replacing it at the same time."""
    part = file.with_name(f"{file.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, file)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise UserError(f"{file} cannot be written ({error.strerror}): free some space or choose another outputs=FOLDER.") from None


def write_json(file: Path, value: Any) -> None:
    """Replace a JSON file. Secrets are left out of it."""
    write_text(file, json_without_secrets(value, indent=2, ensure_ascii=False, default=str) + "\n")
