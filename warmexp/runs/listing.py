"""The list of runs as a table: as wide as the terminal, columns dropped where it is narrow, digits never; as wide as it
is into a pipe."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Any

from warmexp.console import show, visible
from warmexp.runs.catalogue import Run
from warmexp.runs.where import value_of

# In the order in which they are shown, each with its importance: what is least is dropped first.
COLUMNS = {
    "run": 9,
    "status": 8,
    "questions": 6,
    "nfe": 7,
    "strict": 5,
    "flexible": 7,
    "unmask": 1,
    "remask": 2,
    "tau": 4,
    "seed": 3,
}
_MORE = 8  # importance of a column that was asked for
_SHARES = ("strict", "flexible", "accuracy")


def table(runs: Sequence[Run], more: Sequence[str] = ()) -> None:
    """Print it. more: keys whose values are shown too."""
    if not runs:
        return
    columns = [*COLUMNS, *(key for key in more if key not in COLUMNS)]
    cells = {key: [_head(key), *(_cell(run, key) for run in runs)] for key in columns}
    width = shutil.get_terminal_size((0, 0)).columns if sys.stdout.isatty() else 0
    shown = _fitting(cells, more, width)
    widths = {key: max(map(len, cells[key])) for key in shown}
    lines = []
    for row in range(len(runs) + 1):
        parts = [
            cells[key][row].ljust(widest) if key in ("run", "status") else cells[key][row].rjust(widest)
            for key, widest in widths.items()
        ]
        lines.append("  ".join(parts).rstrip())
    show(*lines)
    dropped = [_head(key) for key in columns if key not in shown]
    if dropped:
        show(f"not shown, the terminal is narrow: {', '.join(dropped)}")


def _fitting(cells: dict[str, list[str]], more: Sequence[str], width: int) -> list[str]:
    """The columns that fit, the run's name always."""
    shown = list(cells)

    def needed() -> int:
        return sum(max(map(len, cells[key])) + 2 for key in shown) - 2

    while width and needed() > width and len(shown) > 1:
        least = min(shown[1:], key=lambda key: _MORE if key in more else COLUMNS.get(key, _MORE))
        shown.remove(least)
    return shown


def _head(key: str) -> str:
    return {"nfe": "NFE", "strict": "strict %", "flexible": "flexible %", "tau": "τ", "rho": "ρ", "lambda": "λ"}.get(
        key, key
    )


def _cell(run: Run, key: str) -> str:
    if key == "run":
        return visible(run.name)
    if key == "questions":
        return str(run.records) if run.records == run.questions else f"{run.records}/{run.questions or '?'}"
    values = value_of(run, key)
    return ",".join(dict.fromkeys(_shown(value, key) for value in values)) or "–"


def _shown(value: Any, key: str) -> str:
    if value is None:
        return "–"
    if key in _SHARES:
        return f"{100 * value:.1f}"
    if key == "nfe":
        return f"{value:.2f}"
    return visible(f"{value:g}" if isinstance(value, float) else str(value))
