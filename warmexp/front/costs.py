"""`python -m warmexp.front.costs outputs/…`: what every method costs, a row each, as a Markdown table.

A method is what was chosen, whatever its keys. Its row is its cheapest run, by forwards, that is at least as accurate
as --at; of a method that never is, its most accurate one. Costs are means per question: NFE (batched forwards of the
backbone), rows (candidates counted each), token-forwards, a guide's forwards, and seconds, which are those of the
machine that decoded: they compare methods on one machine, roughly. Runs on different questions, tasks or backbones have
tables of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from warmexp.analysis.axes import AXES
from warmexp.analysis.measured import Measured, cores, measure_all
from warmexp.analysis.methods import gathered, named
from warmexp.analysis.points import FILTERS, Point, collect
from warmexp.console import Parser, ending, show
from warmexp.errors import UserError, check_choice, check_range

SHOWN = ("nfe", "rows", "token_forwards", "guide_forwards", "seconds")
_HEADS = {"nfe": "NFE", "token_forwards": "token-forwards", "guide_forwards": "guide forwards"}


def row_of(runs: Sequence[Measured], at: float) -> Measured:
    """The one of a method's runs that stands for it."""
    reaching = [one for one in runs if one.point.accuracy >= at]
    if reaching:
        return min(reaching, key=lambda one: (one.point.nfe, -one.point.accuracy, one.point.run_id))
    return max(runs, key=lambda one: (one.point.accuracy, -one.point.nfe, one.point.run_id))


def _setting(point: Point) -> str:
    parts = (point.parameters, point.revision.partition(" remask ")[2], point.shown)
    return " ".join(filter(None, parts)) or "–"


def _cell(one: Measured, axis: str) -> str:
    values = one.x.get(axis)
    if values is None:
        return "–"
    mean, digits = float(np.mean(values)), AXES[axis].digits
    return "–" if axis == "guide_forwards" and not mean else f"{mean:,.{digits}f}"


def table(runs: Sequence[Measured], at: float) -> str:
    """Markdown, of runs on the same questions; the most frugal rows that reach `at` first, then the others."""
    points = [one.point for one in runs]
    everyone = np.ones(len(runs), dtype=bool)
    found = [[runs[i] for i in members] for members in gathered(points, everyone).values()]
    rows = sorted(
        (row_of(each, at) for each in found), key=lambda one: (one.point.accuracy < at, one.point.nfe, one.point.label)
    )
    heads = ["chosen", "setting", *(_HEADS.get(name, name) for name in SHOWN), f"{rows[0].point.accuracy_filter} %"]
    lines = [heads, ["---", "---", *["---:"] * (len(heads) - 2)]]
    for one in rows:
        cells = [f"`{named(one.point)}`", _setting(one.point), *(_cell(one, name) for name in SHOWN)]
        lines.append([*cells, f"{100 * one.point.accuracy:.1f}"])
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables. Raises UserError for a user's mistake."""
    parser = Parser(prog="python -m warmexp.front.costs", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="run folders, or folders above them")
    parser.add_argument("--at", type=float, default=0.9, help="accuracy to reach, a share (default: 0.9)")
    parser.add_argument("--accuracy", default="flexible", help=f"{' or '.join(FILTERS)} (default: flexible)")
    chosen = parser.parse_args(arguments)
    check_choice("accuracy", chosen.accuracy, FILTERS)
    check_range("--at", chosen.at, 0, 1, "the accuracy that a method's row is to reach, as a share of the questions")
    for folder in chosen.folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder: name a run's folder, or one that holds run folders.")
    points, left_out = collect(chosen.folders, chosen.accuracy)
    points = [point for point in points if point.ranked]
    if not points:
        raise UserError(
            f"{chosen.folders[0]} holds no finished run: make one with python -m warmexp outputs={chosen.folders[0]}."
        )
    groups: dict[tuple, list[Measured]] = {}
    for one in measure_all(points, cores()):
        if isinstance(one, UserError):
            left_out.append(str(one))
        else:
            key = (one.point.task, one.point.backbone, one.point.model, one.point.questions)
            groups.setdefault(key, []).append(one)
    for runs in groups.values():
        first = runs[0].point
        split = f" ({first.split} split)" if first.split else ""
        said = f"{first.n} {first.task} questions{split}, {first.backbone} backbone, {len(runs)} runs"
        show(f"{said}, --at {chosen.at:g}:\n")
        show(table(runs, chosen.at))
    for sentence in left_out:
        show(sentence)


if __name__ == "__main__":
    with ending():
        main()
