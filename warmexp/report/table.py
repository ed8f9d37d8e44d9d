"""A front's tables: for the terminal (rich) and for a README (Markdown). Both show the same cells (cells.py)."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from warmexp.analysis.result import Front, Result
from warmexp.console import visible, written
from warmexp.report.cells import (
    has_methods,
    method_cells,
    method_columns,
    method_notes,
    numbers_lines,
    run_cells,
    run_columns,
    run_notes,
    saving_cells,
    saving_columns,
    saving_notes,
)
from warmexp.secrets import clean_text

_TEXT_COLUMNS = 2  # the first ones; the rest are numbers, aligned right
_NAMES = ("method", "proposer", "chosen", "family")  # their names
_Rows = list[tuple[Result, tuple[str, ...]]]


def print_table(front: Front, console: Console | None = None) -> None:
    """The tables on standard output: as wide as the terminal, and not folded to 80 columns where there is none."""
    if console is not None:
        _print(front, console)
        return
    with written(sys.stdout) as stream:
        console = _Console(file=stream)
        _print(front, console if console.is_terminal else _Console(file=stream, width=200))


class _Console(Console):
    """One that does not end the process where its pipe was closed."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, "the pipe was closed")


def _print(front: Front, console: Console) -> None:
    for title, columns, rows, notes in _tables(front):
        columns, rows, dropped = _fitted(columns, rows, console.width)
        if dropped:
            notes = [f"Not shown, the terminal is narrow: {', '.join(dropped)}.", *notes]
        console.print(_rich(title, columns, rows, notes))
    for sentence in (*front.caveats, *front.left_out):
        console.print(escape(visible(clean_text(sentence))), soft_wrap=True)


# What is dropped first where a terminal is narrow; columns of no such name, such as the method, stay to the end.
_LEAST = (
    "best at", "undominated", "one left out", "% gained", "median", "proposal %", "seconds", "p, Holm", "n", "won",
    "non-inferior", "saved\u00a0%", "proposer", "strict %", "Δ",
)  # fmt: skip


def _fitted(columns: Sequence[str], rows: _Rows, width: int) -> tuple[list[str], _Rows, list[str]]:
    """Columns and cells that a terminal has room for, and the names of columns that are dropped. An interval goes below
    its number before a column goes; nothing is broken but names."""
    if _needed(columns, rows, range(len(columns))) > width:
        rows = [(run, tuple(cell.replace(" [", "\n[") for cell in cells)) for run, cells in rows]

    def least(index: int) -> int:
        found = [rank for rank, start in enumerate(_LEAST) if _starts(columns[index], start)]
        return min(found, default=len(_LEAST) + len(columns) - index)

    shown = list(range(len(columns)))
    while len(shown) > 2 and _needed(columns, rows, shown) > width:
        shown.remove(min(shown[1:], key=least))
    kept = [(run, tuple(cells[index] for index in shown)) for run, cells in rows]
    return [columns[i] for i in shown], kept, [name for i, name in enumerate(columns) if i not in shown]


def _starts(name: str, start: str) -> bool:
    return name == start if start == "n" else name.startswith(start)


def _needed(columns: Sequence[str], rows: _Rows, shown: Sequence[int]) -> int:
    """Cells of a terminal: three between two columns, one at each edge."""
    widths = [_least_width(columns[index], [cells[index] for _, cells in rows]) for index in shown]
    return sum(widths) + 3 * len(widths) - 1


def _least_width(name: str, cells: Sequence[str]) -> int:
    """Of a column: a name may be broken between words, anything else between lines only."""
    texts = [*_heading(name).split("\n"), *(line for cell in cells for line in cell.split("\n"))]
    if name in _NAMES:
        texts = [word for text in texts for word in text.split(" ")]
    return max(map(cell_len, texts), default=0) + (2 if name in ("method", "chosen") else 0)


def _heading(name: str) -> str:
    return name.replace(" [", "\n[").replace(" (", "\n(")  # narrow columns leave room for the method


def markdown(front: Front) -> str:
    """The same tables in GitHub's Markdown, ending in a newline."""
    parts = []
    for title, columns, rows, notes in _tables(front):
        lines = [columns, tuple("---" if index < _TEXT_COLUMNS else "---:" for index in range(len(columns)))]
        for run, cells in rows:
            cells = [cell.replace("|", "\\|") for cell in cells]
            lines.append((f"**{cells[0]}**" if run.steady else cells[0], *cells[1:]))
        parts += [
            *([f"**{title}**", ""] if title else []),
            *("| " + " | ".join(line) + " |" for line in lines),
            "",
            " ".join(notes),
            "",
        ]
    if front.caveats:
        parts += [" ".join(front.caveats), ""]
    return "\n".join(parts or ["No runs.", ""])


def _tables(front: Front) -> list[tuple[str | None, tuple[str, ...], list[tuple[Result, tuple[str, ...]]], list[str]]]:
    """Per group, the runs and their savings: title, column names, (run, cells) rows, notes."""
    tables = []
    for number, group in enumerate(front.groups):
        runs = sorted((run for run in front.runs if run.group == number), key=_place)
        split = "" if group.split == "not named" else f" ({group.split} split)"
        title = f"{group.n} {group.task} questions{split}, {group.backbone} backbone" if len(front.groups) > 1 else None
        notes = [*run_notes(front, runs, group), *(numbers_lines(front, group) if len(runs) > 1 else [])]
        tables.append((title, run_columns(front), _rows(front, runs, run_cells), notes))
        compared = [run for run in runs if run.saved or run.paired]
        if compared:
            tables.append(
                (None, saving_columns(front), _rows(front, compared, saving_cells), saving_notes(front, compared))
            )
        if has_methods(group):
            there = {run.point.run_id: run for run in runs}
            rows = [(there[one.best], method_cells(front, one, there[one.best])) for one in group.methods]
            tables.append((None, method_columns(front), rows, method_notes(front)))
    return tables


def _place(run: Result) -> tuple:
    """The front first, what may stand on none last, and by cost."""
    return not run.on_front, not run.point.ranked, run.x, -run.accuracy, run.point.label


def _rows(front: Front, runs: Sequence[Result], cells: Callable[[Front, Result], tuple[str, ...]]) -> list:
    return [(run, cells(front, run)) for run in runs]


def _rich(
    title: str | None, columns: Sequence[str], rows: Sequence[tuple[Result, Sequence[str]]], notes: Sequence[str]
) -> Table:
    caption = escape(visible(" ".join(notes)))
    title = title and escape(visible(title))
    out = Table(
        title=title, title_justify="left", caption=caption, caption_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for index, name in enumerate(columns):
        widest = _least_width(name, [cells[index] for _, cells in rows])
        out.add_column(
            _heading(name), justify="left" if name in _NAMES else "right", no_wrap=name not in _NAMES, min_width=widest
        )
    for run, cells in rows:
        style = "dim" if run.point.oracle else "bold" if run.steady else None
        mark = "* " if run.on_front else "  "
        first, *others = (escape(visible(cell)) for cell in cells)
        out.add_row(mark + first, *others, style=style)
    return out
