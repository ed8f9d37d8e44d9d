"""Points that were measured elsewhere, laid on a front to look at: they touch no line, no interval and no indicator.

A CSV file has one line per point and at least the columns `method`, `task`, `accuracy` (in percent) and `source`, with
a column for every axis on which its points have a place (axes.AXES: `nfe`, `seconds`, …; empty where that is unknown).
Other columns (`model`, `settings`, …) are for readers.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warmexp.analysis.axes import AXES
from warmexp.errors import UserError

NEEDED = ("method", "task", "accuracy", "source")
LARGEST = 4 << 20  # bytes


@dataclass(frozen=True)
class Outside:
    """A published point. accuracy: a share. x: its place on each axis that is known."""

    method: str
    model: str
    task: str
    accuracy: float
    source: str
    x: dict[str, float]

    @property
    def label(self) -> str:
        """As it is named in a picture."""
        return ", ".join(filter(None, (self.method, self.model)))

    def on(self, axis: str) -> dict[str, Any]:
        """For front.json: its place on an axis that is known."""
        about = {"label": self.label, "task": self.task, "source": self.source}
        return {**about, "x": self.x[axis], "accuracy": self.accuracy}


def read_outside(file: Path) -> tuple[Outside, ...]:
    """The points of a CSV file.

    Raises:
        UserError: it cannot be read, a column or a value is missing, or a number is none.
    """
    name = f"points={file}"
    try:
        if not file.is_file() or file.stat().st_size > LARGEST:
            raise UserError(f"{name} is not a CSV file of at most {LARGEST >> 20} MiB.")
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{name} cannot be read as CSV in UTF-8 ({error}).") from None
    if not rows:
        raise UserError(f"{name} holds no points: its first line names the columns {', '.join(NEEDED)} and an axis.")
    missing = [column for column in NEEDED if column not in rows[0]]
    if missing:
        raise UserError(f"{name} lacks the column {missing[0]}: it needs {', '.join(NEEDED)} and an axis such as nfe.")
    return tuple(_point(f"{name}, line {number}", row) for number, row in enumerate(rows, 2))


def _point(where: str, row: dict[str, str | None]) -> Outside:
    for column in NEEDED:
        if not (row[column] or "").strip():
            raise UserError(f"{where}: {column} is empty.")
    accuracy = _number(where, "accuracy", row["accuracy"] or "", 100.0)
    x = {axis: _number(where, axis, row[axis] or "", 1e12) for axis in AXES if (row.get(axis) or "").strip()}
    text = {key: (row.get(key) or "").strip() for key in ("method", "model", "task", "source")}
    return Outside(**text, accuracy=accuracy / 100, x=x)


def _number(where: str, column: str, text: str, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= most:
        raise UserError(f"{where}: {column}={text} is not a number from 0 to {most:g}.")
    return value
