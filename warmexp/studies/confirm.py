"""`study.confirm=RULE or RUN`: what a study chose on its calibration split is run once on the test split, as a study of
its own.

The best of many runs is lucky as well as good, and what it gained by luck does not come again. So the choice is made
where nothing is reported, is written down, and is then measured on questions that had no part in it, beside the
baseline's settings that were chosen there.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from warmexp.analysis.chosen import TUNING
from warmexp.analysis.result import Front, Result
from warmexp.config.keys import baseline_of
from warmexp.config.quoting import escaped
from warmexp.console import show
from warmexp.errors import UserError
from warmexp.io import read_json, write_json
from warmexp.studies.folder import Job
from warmexp.studies.named import is_neutral

FILE = "confirm.json"
RULES = {
    "cheapest": "the cheapest run whose accuracy is shown to be non-inferior",
    "saved": "the run that saves most at equal accuracy",
    "accurate": "the most accurate run, and of equals the cheapest",
}


def chosen(front: Front, wanted: str) -> Result:
    """The run that a rule, or its own id, names among those of the calibration split.

    Raises:
        UserError: where there is none.
    """
    runs = [run for run in front.runs if run.point.split in TUNING and run.point.ranked and not run.is_candidate]
    if not runs:
        raise UserError(
            f"study.confirm={wanted}: no warm start of this study is on a calibration split; add"
            " task.split=calibration."
        )
    if wanted not in RULES:
        named = [run for run in runs if run.point.run_id == wanted]
        if not named:
            raise UserError(
                f"study.confirm={wanted} is neither a run on the calibration split nor one of {', '.join(RULES)}."
            )
        return named[0]
    fit = {
        "cheapest": [run for run in runs if run.paired and run.paired.non_inferior],
        "saved": [run for run in runs if run.saved and run.saved.bound != "at_most"],
        "accurate": runs,
    }[wanted]
    if not fit:
        raise UserError(f"study.confirm={wanted}: there is no such run ({RULES[wanted]}); name a run, or another rule.")
    order = {
        "cheapest": lambda run: (run.x, -run.accuracy),
        "saved": lambda run: (-run.saved.saved, run.x),
        "accurate": lambda run: (-run.accuracy, run.x),
    }
    return min(fit, key=order[wanted])


def confirm(cfg: DictConfig, front: Front, jobs: Sequence[Job], folder: Path) -> int:
    """Choose, write the choice down, and run it. Returns the exit status of the confirming study.

    Raises:
        UserError: nothing can be chosen, or another choice was confirmed before.
    """
    wanted = str(cfg.study.confirm)
    run = chosen(front, wanted)
    of_run = {job.folder: job for job in jobs}
    ids = [run.point.run_id, *([run.paired.baseline] if run.paired else []), *front.groups[run.group].baseline_runs]
    lines = [grid(of_run[name].overrides) for name in dict.fromkeys(ids) if name in of_run]
    name = f"{folder.name}-confirm"
    _once(
        folder / FILE,
        {"rule": wanted, "meaning": RULES.get(wanted, "named"), "run": run.point.run_id, "runs": lines, "study": name},
    )
    show(
        f"confirming {run.point.label}, chosen on the {run.point.split} split ({wanted}), on the test split: study"
        f" {name}"
    )
    return subprocess.run([sys.executable, "-m", "warmexp", *words(cfg, lines, name)]).returncode


def grid(overrides: Sequence[str]) -> str:
    """A job's words on the test split, each pinned, as a line of `hydra.sweeper.grids`."""
    # Where and how it is run is the confirming study's own affair.
    kept = [word for word in overrides if not is_neutral(word) and word.partition("=")[0] != "task.split"]
    return shlex.join(f"!{escaped(word)}" for word in [*kept, "task.split=test"])


def words(cfg: DictConfig, lines: Sequence[str], name: str) -> list[str]:
    """The command line of the confirming study: this one's, with other grids and another name."""
    own = {"study.name", "study.confirm", "study.baseline", "task.split"}
    own |= {word.lstrip("!").partition("=")[0] for line in lines for word in shlex.split(line)}
    kept = [escaped(word) for word in cfg.hydra.overrides.task if word.partition("=")[0] not in own]
    grids = ",".join(_quoted(line) for line in lines)
    return [
        "-m",
        *kept,
        f"hydra.sweeper.grids=[{grids}]",
        f"study.name={name}",
        f"study.baseline={_quoted(baseline_of(cfg.study))}",
    ]


def _quoted(text: str) -> str:
    """As a value of Hydra's command line."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _once(file: Path, choice: dict[str, object]) -> None:
    try:
        before = read_json(file).get("run")
    except (UserError, AttributeError):
        before = None
    if before is not None and before != choice["run"]:
        raise UserError(
            f"study.confirm: {before} was confirmed before, and {choice['run']} would be a second look at the same"
            f" questions: confirm it on others, or delete {file} and say so."
        )
    write_json(file, choice)
