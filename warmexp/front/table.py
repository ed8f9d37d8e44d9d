"""The results table: for the terminal (rich) and for a README (Markdown). Both show the same cells."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from warmexp.front.points import Interval, Point, caveats, pareto

COLUMNS = ("method", "proposer", "τ", "NFE [95 % CI]", "strict % [95 % CI]", "flexible % [95 % CI]", "proposal %", "seconds", "n")
_TEXT_COLUMNS = 2  # the first ones; the rest are numbers, aligned right


def table(points: Sequence[Point], title: str | None = None) -> Table:
    """A rich table in the order of the points; the runs of the front are bold, oracle runs grey."""
    front = {point.run_id for point in pareto(points)}
    out = Table(title=title, caption=_caption(points), caption_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(COLUMNS):
        number = index >= _TEXT_COLUMNS
        # no-break spaces keep "[low, high]" whole, so a narrow terminal puts the interval below its value
        out.add_column(name.replace("95 % CI", "95\u00a0%\u00a0CI"), justify="right" if number else "left", no_wrap=index == 2)
    for point in points:
        style = "dim" if point.oracle else "bold" if point.run_id in front else None
        out.add_row(*(escape(cell) for cell in _cells(point)), style=style)
    return out


def markdown(points: Sequence[Point]) -> str:
    """The same table in GitHub's Markdown, ending in a newline."""
    front = {point.run_id for point in pareto(points)}
    rows = [COLUMNS, tuple("---" if index < _TEXT_COLUMNS else "---:" for index in range(len(COLUMNS)))]
    for point in points:
        cells = [cell.replace("|", "\\|") for cell in _cells(point)]
        rows.append((f"**{cells[0]}**" if point.run_id in front else cells[0], *cells[1:]))
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", _caption(points), ""])


def _cells(point: Point) -> tuple[str, ...]:
    return (
        point.variant,
        point.proposer + (" (oracle)" if point.oracle else ""),
        point.unmask if point.tau is None else f"{point.tau:g}",
        _with_interval(point.nfe, point.nfe_ci95, 1.0, 2),
        _with_interval(point.accuracy_strict, point.accuracy_strict_ci95, 100.0, 1),
        _with_interval(point.accuracy_flexible, point.accuracy_flexible_ci95, 100.0, 1),
        "–" if point.proposal_accuracy is None else f"{100 * point.proposal_accuracy:.1f}",
        f"{point.seconds:.1f}",
        str(point.n),
    )


def _with_interval(value: float, interval: Interval, scale: float, digits: int) -> str:
    low, high = (f"{scale * limit:.{digits}f}" for limit in interval)
    return f"{scale * value:.{digits}f} [{low},\u00a0{high}]"


def _caption(points: Sequence[Point]) -> str:
    if not points:
        return "No runs."
    which = points[0].accuracy_filter
    lines = [f"Bold: not dominated (lower NFE, higher {which} accuracy). Proposals scored by {which} match."]
    if any(point.oracle for point in points):
        lines.append("Oracle runs saw the reference solution and are kept off the front.")
    return " ".join([*lines, *caveats(points)])


def print_table(points: Sequence[Point]) -> None:
    """The table on standard output: as wide as the terminal, and not folded to 80 columns where there is none."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(table(points))
