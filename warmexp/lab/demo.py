"""`make demo`: the study in sweeps/demo.yaml on the embedded lab, then the table and the picture."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path

from omegaconf import OmegaConf

from warmexp.api import run_overrides
from warmexp.config import sweeps_dir
from warmexp.errors import UserError
from warmexp.io import write_text


def jobs(study: Path) -> list[list[str]]:
    """Every command line of a study file: the product over the comma-separated values of each entry."""
    raw = OmegaConf.to_container(OmegaConf.load(study))
    expanded = []
    for entry in raw["runs"]:
        pairs = [(word.partition("=")[0], word.partition("=")[2].split(",")) for word in entry]
        for values in itertools.product(*(options for _, options in pairs)):
            expanded.append([*raw.get("common", []), *(f"{key}={value}" for (key, _), value in zip(pairs, values, strict=True))])
    return expanded


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m warmexp.lab.demo", description=__doc__)
    parser.add_argument("--study", type=Path, default=sweeps_dir() / "demo.yaml", help="a study file (default: the demo)")
    parser.add_argument("--limit", type=int, help="questions per run (default: the study's)")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="where run folders go (default: outputs)")
    chosen = parser.parse_args(arguments)
    extra = [f"outputs={chosen.outputs}"] + ([f"task.limit={chosen.limit}"] if chosen.limit else [])

    from warmexp.front.analysis import analyse
    from warmexp.front.figure import front_picture
    from warmexp.front.points import load_point
    from warmexp.front.table import markdown, print_table

    started = time.perf_counter()
    points = []
    lines = jobs(chosen.study)
    for number, line in enumerate(lines, 1):
        summary, folder = run_overrides([*line, *extra])
        points.append(load_point(folder, accuracy="strict"))
        point = f"{summary['nfe_mean']:.1f} forwards, {100 * summary['accuracy_strict']:.1f} % right"
        print(f"[{number}/{len(lines)}] {' '.join(line[1:])}: {point}", flush=True)
    front = analyse(points)
    print_table(front)
    picture, text = chosen.outputs / "demo.png", chosen.outputs / "demo.md"
    front_picture(front, picture, title=f"The lab, {points[0].n} questions")
    write_text(text, markdown(front))
    print(f"{len(points)} runs in {time.perf_counter() - started:.0f} s\npicture: {picture}\ntable:   {text}\nruns:    {chosen.outputs}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"warmexp: {error}", file=sys.stderr)
        sys.exit(2)
