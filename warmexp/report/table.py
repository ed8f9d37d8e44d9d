"""A front's tables: for the terminal (rich) and for a README (Markdown). Both show the same cells (cells.py)."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from warmexp.analysis.result import Front, Result
from warmexp.console import visible, written
from warmexp.report.cells import (
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
        console.print(_rich(title, columns, rows, notes))
    for sentence in (*front.caveats, *front.left_out):
        console.print(escape(visible(clean_text(sentence))), soft_wrap=True)


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
        runs = [run for run in front.runs if run.group == number]
        split = "" if group.split == "not named" else f" ({group.split} split)"
        title = f"{group.n} {group.task} questions{split}, {group.backbone} backbone" if len(front.groups) > 1 else None
        notes = [*run_notes(front, runs, group), *(numbers_lines(front, group) if len(runs) > 1 else [])]
        tables.append((title, run_columns(front), _rows(front, runs, run_cells), notes))
        compared = [run for run in runs if run.saved or run.paired]
        if compared:
            tables.append(
                (None, saving_columns(front), _rows(front, compared, saving_cells), saving_notes(front, compared))
            )
    return tables


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
        name = name.replace(" [", "\n[").replace(" (", "\n(")  # narrow columns leave room for the method
        out.add_column(name, justify="right" if index >= _TEXT_COLUMNS else "left", no_wrap=index == _TEXT_COLUMNS)
    for run, cells in rows:
        style = "dim" if run.point.oracle else "bold" if run.steady else None
        out.add_row(*(escape(visible(cell)) for cell in cells), style=style)
    return out
