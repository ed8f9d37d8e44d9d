"""Files that are read line by line, from whoever wrote them: one JSON object per line, and one sentence for everything
else.

Every JSONL file comes in through here (questions, proposals, stores, records), so that what is no text never becomes
one: `null` is not the word "None", and half of a surrogate pair is not a character that fails hours later, when it is
written.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warmexp.errors import UserError

LONGEST = 64 << 20  # bytes of a line
DEEPEST = 64  # objects and lists inside each other
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKETS_ALONE = {ord(c): None for c in "0123456789+-.eE,: \t\r\ntrufalsn"}
_BOM = b"\xef\xbb\xbf"
_EXACT = 2.0**53  # below it every whole number is a float of its own


class BadLine(ValueError):
    """A line that is no JSON object: its number, and what it is (or has) instead, as the end of a sentence."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(f"line {number} {why}")
        self.number, self.why = number, why


class _Wrong(ValueError):
    """What is wrong with a line, as the end of a sentence."""


MOST_OF_AN_ID = 10_000  # characters


@dataclass(frozen=True)
class Row:
    """An object and where it was read, as a user would call it ("task.path=mine.jsonl, line 3")."""

    values: dict[str, Any]
    where: str

    def text(self, name: str) -> str:
        """A field that is a text. A whole number is one too, however it is written: 7 and 7.0 are "7".

        Raises:
            UserError: the field is missing, or is anything else (null, true, 3.5, a list, an object).
        """
        if name not in self.values:
            raise UserError(f'{self.where} has no "{name}": give it one.')
        value = self.values[name]
        if isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
            return str(int(value))
        raise UserError(
            f'{self.where}: "{name}" is {_kind(value)}, which is no text: write it as a string in quotation marks.'
        )

    def number(self, name: str, value: Any) -> float:
        """`value` as a finite number; `name` says whose it is.

        Raises:
            UserError: it is none.
        """
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            with suppress(OverflowError):  # a whole number beyond every float
                if math.isfinite(value):
                    return float(value)
        raise UserError(f'{self.where}: "{name}" is {_kind(value)}, not a finite number: correct it or leave it out.')


def read_rows(file: Path, name: str) -> Iterator[Row]:
    """The objects of a JSONL file, in order; blank lines are skipped.

    Args:
        name: what the user calls the file, for messages ("task.path=mine.jsonl").
    Raises:
        UserError: the file cannot be read, or a line is no JSON object.
    """
    try:
        for number, value in objects(file):
            yield Row(value, f"{name}, line {number}")
    except OSError as error:
        raise UserError(f"{name} cannot be read ({error.strerror or error}): give a JSONL file.") from None
    except BadLine as bad:
        raise UserError(f"{name}, line {bad.number} {bad.why}: every line must be one JSON object, in UTF-8.") from None


def check_once(named: Iterable[tuple[str, Row]], remedy: str) -> None:
    """Refuse a name that two rows have: which of them counted would depend on their order."""
    seen: dict[str, Row] = {}
    for name, row in named:
        first = seen.setdefault(name, row)
        if first is not row:
            line = first.where.rpartition(", ")[2]
            raise UserError(f"{row.where} has the id {_kind(name)}, as {line} does: {remedy}.")


def objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers, from 1, and objects.

    Raises:
        OSError: no such file, or not a regular one (a device or a pipe may never end).
        BadLine: a line that is none.
    """
    for number, line in lines(file):
        value = parse(number, line)
        if value is not None:
            yield number, value


def lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Line numbers, from 1, and lines with their newline. Nothing but a newline ends a line: a text may hold other
    separators."""
    with open(file, "rb", opener=regular) as handle:
        number = 1
        while line := handle.readline(LONGEST + 1):
            if len(line) > LONGEST:
                raise BadLine(number, f"is longer than {LONGEST >> 20} MiB")
            yield number, line
            number += 1


def parse(number: int, line: bytes) -> dict[str, Any] | None:
    """A line's object; None for a blank line.

    Raises:
        BadLine: anything else.
    """
    try:
        text = line.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadLine(number, f"is not UTF-8 text (byte {line[error.start]:#04x})") from None
    if not text.strip():
        return None
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
        if not isinstance(value, dict):
            raise _Wrong(f"is {_kind(value)}, not an object")
        if "\\u" in text or _may_be_deep(text):
            _check(value)
    except json.JSONDecodeError as error:
        raise BadLine(number, f"is not JSON ({error.msg}, column {error.colno})") from None
    except RecursionError:
        raise BadLine(number, f"is nested more than {DEEPEST} deep") from None
    except _Wrong as error:
        raise BadLine(number, str(error)) from None
    except ValueError:  # whole numbers of more digits than Python reads
        raise BadLine(number, "holds a number of too many digits") from None
    return value


def regular(path: str, flags: int) -> int:
    """Open a regular file. Looked at before it is opened, because opening a pipe waits for whoever writes into it."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(0, "it is not a regular file")
    return os.open(path, flags)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise _Wrong(f"has the name {_kind(twice)} twice")
    return made


def _constant(name: str) -> Any:
    raise _Wrong(f"holds {name}, which is no JSON number")


def _may_be_deep(text: str) -> bool:
    """False where a look at the brackets is enough: a record has hundreds of them side by side."""
    if text.count("[") + text.count("{") <= DEEPEST:
        return False
    left = _STRING.sub("", text).translate(_BRACKETS_ALONE)
    for _ in range(DEEPEST // 2):  # each time, one or two of the inmost levels
        left = left.replace("[]", "").replace("{}", "")
    return bool(left)


def _check(value: Any) -> None:
    """No half of a surrogate pair, and not too deep."""
    waiting = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        if isinstance(item, str):
            if not item.isascii() and any("\ud800" <= c <= "\udfff" for c in item):
                raise _Wrong("holds half of a surrogate pair (\\ud800 to \\udfff alone), which is no character")
            continue
        if depth > DEEPEST:
            raise _Wrong(f"is nested more than {DEEPEST} deep")
        inside = [*item, *item.values()] if isinstance(item, dict) else item
        waiting.extend((part, depth + 1) for part in inside if isinstance(part, (str, list, dict)))


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    shown = json.dumps(value, ensure_ascii=True)
    return shown if len(shown) <= 40 else f"{shown[:37]}…"
