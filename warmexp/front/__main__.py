"""`python -m warmexp.front outputs/…`: the front of finished runs, printed and written as JSON, CSV, picture and
report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from warmexp.analysis.analysis import MARGIN, analyse
from warmexp.analysis.axes import AXES, axis
from warmexp.analysis.baseline import DEFAULT
from warmexp.analysis.measured import cores
from warmexp.analysis.outside import read_outside
from warmexp.analysis.points import FILTERS, collect
from warmexp.console import Parser, ending, show
from warmexp.errors import UserError, check_choice, check_range
from warmexp.io import check_writable, read_json, there
from warmexp.studies.frozen import frozen


def _parser() -> Parser:
    parser = Parser(prog="python -m warmexp.front", description=__doc__)
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="run folders, or folders above them, such as outputs"
    )
    parser.add_argument("--x", default="nfe", help=f"the cost axis: {', '.join(AXES)} (default: nfe)")
    parser.add_argument(
        "--accuracy", default="flexible", help=f"which filter: {' or '.join(FILTERS)} (default: flexible)"
    )
    parser.add_argument(
        "--baseline", help=f"the runs to beat, as key=value words (default: the study's own, otherwise '{DEFAULT}')"
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=MARGIN,
        help=f"of non-inferiority, a share of the questions (default: {MARGIN:g})",
    )
    parser.add_argument(
        "--reference",
        type=float,
        help="x of the hypervolume's reference point (default: a tenth beyond the dearest run)",
    )
    parser.add_argument(
        "--pooled", action="store_true", help="compare runs on different questions, tasks and backbones, and say so"
    )
    parser.add_argument(
        "--points",
        type=Path,
        metavar="FILE",
        help="a CSV file of points from elsewhere to lay on the front (columns method, task, accuracy, source, nfe;"
        " docs/published.csv is one)",
    )
    parser.add_argument("--out", type=Path, help="where the files go (default: FOLDER/front of the first folder)")
    return parser


def _study_baseline(folders: Sequence[Path]) -> str | None:
    """What the one study among the folders names as its baseline."""
    try:
        (named,) = [read_json(folder / "study.json").get("baseline") for folder in folders]
    except (UserError, ValueError):  # ValueError: several folders
        return None
    return named if isinstance(named, str) else None


def _of_a_beginning(folder: Path) -> Path:
    """A folder, or the one beside it whose name begins like that: a study's name has the overrides of its command
    behind the name of its file.

    Raises:
        UserError: several do.
    """
    if there(folder) or not folder.name or not folder.parent.is_dir():
        return folder
    found = sorted(one for one in folder.parent.iterdir() if one.name.startswith(folder.name) and one.is_dir())
    if len(found) > 1:
        raise UserError(f"{folder} is the beginning of {', '.join(one.name for one in found)}: name one of them.")
    if found:
        show(f"{folder}: {found[0].name}")
    return found[0] if found else folder


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table and the paths. Raises UserError for a user's mistake."""
    from warmexp.report.export import write_front
    from warmexp.report.table import print_table

    chosen = _parser().parse_args(arguments)
    chosen.folders = [_of_a_beginning(folder) for folder in chosen.folders]
    for folder in chosen.folders:
        if not folder.is_dir():
            raise UserError(
                f"{folder} is not a folder: name a run's folder, or one that holds run folders, such as outputs."
            )
    check_choice("accuracy", chosen.accuracy, FILTERS)
    outside = read_outside(chosen.points) if chosen.points else ()
    axis(chosen.x)
    check_range(
        "margin", chosen.margin, 0.0, 1.0, "how much accuracy may be lost, as a share of the questions", open_low=True
    )
    out = chosen.out or chosen.folders[0] / "front"
    check_writable("--out" if chosen.out else "the front's folder", out)
    points, left_out = collect(chosen.folders, chosen.accuracy)
    if not points:
        why = f" ({left_out[0]})" if left_out else ""
        raise UserError(
            f"{chosen.folders[0]} holds no finished run{why}: make one with python -m warmexp"
            f" outputs={chosen.folders[0]}."
        )
    baseline = chosen.baseline or _study_baseline(chosen.folders) or DEFAULT
    options = {
        "x": chosen.x,
        "baseline": baseline,
        "pooled": chosen.pooled,
        "margin": chosen.margin,
        "reference": chosen.reference,
        "outside": outside,
    }
    plan = frozen(chosen.folders[0]) if len(chosen.folders) == 1 else None
    front = analyse(points, **options, plan=plan, left_out=left_out, processes=cores())
    if chosen.baseline and not any(run.is_baseline for run in front.runs):
        raise UserError(
            f"baseline={chosen.baseline} matches none of the {len(front.runs)} runs: --baseline names the runs to beat."
        )
    try:
        paths = write_front(front, out)
    finally:  # whether it can be written or not; and a console that cannot show it does not keep it from being written
        print_table(front)
    for name, path in paths.items():
        show(f"{name}: {path}")
    tasks = {group.task for group in front.groups}
    if outside and not front.beside(tasks):
        known = sorted({f"{one.task} over {', '.join(one.x) or 'no axis'}" for one in outside})
        show(f"points: none is of {', '.join(sorted(tasks))} over {front.x}; {chosen.points} has {'; '.join(known)}.")


if __name__ == "__main__":
    with ending():
        main()
