"""Whole lines or nothing: JSONL files that survive a kill at any byte, and JSON files that are replaced, never half
written."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from warmexp.errors import UserError
from warmexp.jsonl import BadLine, lines, parse, regular
from warmexp.secrets import json_without_secrets

Kind = TypeVar("Kind")

MOST_BYTES = 2**26  # of a file that is read whole


def read_lines(file: Path, row: Callable[[int, bytes], Kind | None] = parse, torn: bool = True) -> list[Kind]:
    """What a JSONL file of ours holds, one row per line; what follows its last newline is torn and is left out.

    row: a row from a line's number and the line, None to leave it out; raises BadLine. torn: a last line that is
    damaged is torn as well.

    Raises:
        UserError: names the first line that is damaged, and what to do.
    """
    if not there(file):
        return []
    rows: list[Kind] = []
    bad: BadLine | None = None
    try:
        for number, line in lines(file):
            if bad is not None:
                raise bad
            if not line.endswith(b"\n"):
                break
            try:
                made = row(number, line)
            except BadLine as error:
                bad = error
                continue
            if made is not None:
                rows.append(made)
        if bad is not None and not torn:
            raise bad
    except BadLine as error:
        raise UserError(
            f"{file}, line {error.number} is damaged (it {error.why}): remove that line, or the file, and a"
            " summary.json beside it, and run"
            " again; what the other lines hold is kept."
        ) from None
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror or error}).") from None
    return rows


def there(file: Path) -> bool:
    """Whether something has this name; a link to itself has, and one to nowhere has not."""
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a name that no file can have
        return False
    except OSError:
        return True
    return True


def read_bytes(file: Path) -> bytes:
    """A whole file. Raises UserError: it is not there, is no regular file (a pipe or a device may never end), or is too
    large."""
    try:
        with open(file, "rb", opener=regular) as handle:
            content = handle.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({getattr(error, 'strerror', None) or error}).") from None
    if len(content) > MOST_BYTES:
        raise UserError(f"{file} cannot be read (it is longer than {MOST_BYTES >> 20} MiB).")
    return content


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object that a file holds. Raises UserError: as read_bytes, or it holds something else."""
    try:
        value = parse(1, read_bytes(file))
    except BadLine as error:
        raise UserError(f"{file} cannot be read (it {error.why}).") from None
    if value is None:
        raise UserError(f"{file} cannot be read (it is empty).")
    return value


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
        raise UserError(
            f"{file} cannot be written ({error.strerror}): free some space or choose another outputs=FOLDER; what was"
            " computed so far is kept and the same command goes on from there."
        ) from None


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
    """Replace a file in one step, whoever else is replacing it at the same time. A lone surrogate, which is no
    character, becomes `?`."""
    write_bytes(file, text.encode("utf-8", errors="replace"))


def write_bytes(file: Path, content: bytes) -> None:
    """Replace a file in one step, or leave it as it was. Its folder is made.

    Raises:
        UserError: it cannot be written.
    """
    part = file.with_name(f"{file.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, file)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise UserError(
            f"{file} cannot be written ({error.strerror}): free some space or choose another outputs=FOLDER."
        ) from None


def give_usual_mode(*files: Path) -> None:
    """Let those read the files who may read any other new file of their folder: safetensors writes for their owner
    alone."""
    for file in files:
        probe = file.with_name(f".{uuid.uuid4().hex[:8]}.part")
        probe.touch()
        file.chmod(probe.stat().st_mode)
        probe.unlink()


def check_writable(key: str, folder: Path) -> None:
    """Refuse, before any work is done, a folder in which no file can be made. Nothing is left behind.

    Raises:
        UserError: names the option and the folder.
    """
    there = next((place for place in (folder, *folder.absolute().parents) if place.exists()), folder)
    probe = there / f".{uuid.uuid4().hex[:8]}.part"
    try:
        probe.touch()
        probe.unlink()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"{key} {folder} cannot be written ({why}): choose another folder.") from None


def table_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys as CSV, the keys first; nothing where there are none.

    Numbers are bare and texts are quoted, so that no separator in a text begins a cell; a text that a spreadsheet would
    compute, such as =1+1, has an apostrophe before it.
    """
    out = io.StringIO()
    if rows:
        writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(map(cell, rows[0]))
        writer.writerows(map(cell, row.values()) for row in rows)
    return out.getvalue()


def cell(value: Any) -> Any:
    """What begins like a formula (full-width signs included) is none, unless it is a number."""
    if not isinstance(value, str) or not _FORMULA.match(value):
        return value
    try:
        float(value)
        return value
    except ValueError:
        return f"'{value}"


_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠|%]|[\t\r\n]")


def write_json(file: Path, value: Any) -> None:
    """Replace a JSON file. Secrets are left out of it."""
    write_text(file, json_without_secrets(value, indent=2, ensure_ascii=False, default=str) + "\n")
