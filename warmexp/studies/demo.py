"""`make demo`: the study in sweeps/demo.yaml on the embedded lab, then its picture and table where the README has
them."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from warmexp.__main__ import main as warmexp
from warmexp.console import Parser, complain, ending, show
from warmexp.io import write_text

_PROCESSES = 4  # each holds torch and the lab's models, half a gigabyte


def main(arguments: list[str] | None = None) -> None:
    parser = Parser(prog="python -m warmexp.studies.demo", description=__doc__)
    parser.add_argument("--limit", type=int, help="questions per run (default: the study's)")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="where run folders go (default: outputs)")
    chosen = parser.parse_args(arguments)
    limit = [f"task.limit={chosen.limit}"] if chosen.limit else []

    from warmexp.config.devices import workers

    started = time.perf_counter()
    several = ["hydra/launcher=local", f"hydra.launcher.n_jobs={min(_PROCESSES, workers())}"]
    sys.argv = ["warmexp", "-m", "+sweep=demo", "study.name=demo", *several, *limit, f"outputs='{chosen.outputs}'"]
    warmexp()

    from warmexp.analysis.analysis import analyse
    from warmexp.analysis.points import collect
    from warmexp.report.figure import front_picture
    from warmexp.report.table import markdown
    from warmexp.studies.folder import StudyFolder

    jobs = StudyFolder(chosen.outputs / "studies" / "demo").asked()
    points, left_out = collect([chosen.outputs / job.folder for job in jobs])
    for sentence in left_out:
        complain(sentence)
    front = analyse(points)
    picture, text = chosen.outputs / "demo.png", chosen.outputs / "demo.md"
    front_picture(front, picture, title=f"The lab, {points[0].n} questions")
    write_text(text, markdown(front))
    show(
        f"{len(points)} runs in {time.perf_counter() - started:.0f} s\npicture: {picture}\ntable:   {text}\nruns:   "
        f" {chosen.outputs}"
    )


if __name__ == "__main__":
    with ending():
        main()
