"""`python -m warmexp.tracking.wandb_sweep NAME [KEY=VALUE …] > sweep.yaml`: a study as a file that `wandb sweep`
accepts.

The agents that `wandb agent` starts run `python -m warmexp` with Hydra arguments, so a W&B sweep leaves ordinary run
folders. A study of one grid becomes W&B parameters of the same names; a study of several grids becomes one parameter,
`point`, whose values are command lines, because W&B has no list of grids. A search becomes W&B's random search over the
same space.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import OmegaConf

from warmexp.api import composed
from warmexp.config.keys import GROUPS, SHARED, reads, sweeps_dir
from warmexp.config.messages import MISTAKES, explain
from warmexp.console import ending, show
from warmexp.errors import UserError, closest
from warmexp.secrets import without_secrets
from warmexp.studies.grids import grid_words

RUN = ["${env}", "${interpreter}", "-m", "warmexp"]
# What follows `point=`, split into words; nothing in it is read as a pattern of file names.
SPLIT = 'set -f; point=$1; shift; exec "$@" ${point#point=}'


def sweep_file(study: str, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """The W&B sweep configuration of a study.

    Args:
        study: the name of a file of `sweeps/`, or a file's path.
        arguments: words that override the study, as on its command line.
    Raises:
        UserError: there is no such study, or a word cannot be read.
    """
    name, config = _load(study)
    hydra = config.pop("hydra", {})
    sweeper = hydra.get("sweeper", {})
    fixed = [*_flat({key: value for key, value in config.items() if key not in ("defaults", "study")})]
    baseline = config.get("study", {}).get("baseline")
    about = {"study.name": name, "study.baseline": " | ".join(baseline) if isinstance(baseline, list) else baseline}
    shared = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    grids = [_grid(grid_words(grid, [*fixed, *shared], arguments)) for grid in sweeper.get("grids") or [""]]
    always = ["tracker=wandb", *(f"{key}='{value}'" for key, value in about.items() if value is not None)]
    parameters, command = _one_grid(grids[0], always) if len(grids) == 1 else _points(grids, always)
    ranged = any("values" not in values for values in parameters.values())
    return {
        "name": name,
        "program": "warmexp",  # W&B wants one; the command does not name it
        "method": "random" if ranged else "grid",
        "metric": {"name": "accuracy_flexible", "goal": "maximize"},
        "parameters": parameters,
        "command": command,
    }


def _one_grid(grid: list[Override], always: list[str]) -> tuple[dict[str, Any], list[str]]:
    """W&B parameters of the study's own names, where every combination is a run."""
    varied = [word for word in grid if word.is_sweep_override()]
    fixed = [str(word.input_line) for word in grid if not word.is_sweep_override() and word.value() is not None]
    if not varied:
        raise UserError("the study varies nothing: give some key several values, such as tau=0.7,0.9.")
    groups = [
        [f"{word.key_or_group}={value}" for value in _listed(word)] for word in varied if word.key_or_group in GROUPS
    ]
    for chosen in itertools.product(*groups):
        cfg, _ = composed([*fixed, *chosen])
        idle = [word.key_or_group for word in varied if not reads(cfg, word.key_or_group)]
        if idle and any(isinstance(word.value(), IntervalSweep) for word in varied):
            raise UserError(
                f"{', '.join(idle)} cannot be varied under {' '.join(chosen)}, and W&B has no parameters that depend"
                f" on others: choose what reads them all, or leave one out by {idle[0]}=null."
            )
        if idle:
            return _points([grid], always)
    return {word.key_or_group: _values(word) for word in varied}, [*RUN, *always, *fixed, "${args_no_hyphens}"]


def _points(grids: list[list[Override]], always: list[str]) -> tuple[dict[str, Any], list[str]]:
    """One W&B parameter whose values are command lines, without the words that do nothing for them."""
    lines = (_lean(point) for grid in grids for point in BasicSweeper.split_arguments(grid, None)[0])
    command = ["${env}", "sh", "-c", SPLIT, "sh", "${args_no_hyphens}", "${interpreter}", "-m", "warmexp", *always]
    return {"point": {"values": list(dict.fromkeys(lines))}}, command


def _lean(words: Sequence[str]) -> str:
    cfg, _ = composed(list(words))
    return " ".join(
        word for word in words if word.partition("=")[0] not in SHARED or reads(cfg, word.partition("=")[0])
    )


def _load(study: str) -> tuple[str, dict[str, Any]]:
    file = Path(study) if study.endswith(".yaml") else sweeps_dir() / f"{study}.yaml"
    if not file.is_file():
        names = sorted(found.stem for found in sweeps_dir().glob("*.yaml"))
        raise UserError(
            f"{study} is not a study{closest(study, names)}: choose one of {', '.join(names)}, or give a file's path."
        )
    return file.stem, OmegaConf.to_container(OmegaConf.load(file))


def _flat(node: dict[str, Any], prefix: str = "") -> list[str]:
    words = []
    for key, value in node.items():
        words += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}={value}"]
    return words


def _grid(words: Sequence[str]) -> list[Override]:
    """The overrides that count: of two for the same key the later one."""
    parsed = {override.key_or_group: override for override in OverridesParser.create().parse_overrides(list(words))}
    return list(parsed.values())


def _values(word: Override) -> dict[str, Any]:
    """What varies, in W&B's terms."""
    value = word.value()
    if isinstance(value, IntervalSweep):
        return {"min": float(value.start), "max": float(value.end)}
    return {"values": [yaml.safe_load(text) for text in _listed(word)]}


def _listed(word: Override) -> list[str]:
    return list(word.sweep_string_iterator())


def main() -> None:
    """Print the file."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        show(__doc__)
        sys.exit(0 if len(sys.argv) > 1 else 2)
    with ending(explain, MISTAKES):
        made = sweep_file(sys.argv[1], sys.argv[2:])
    show(yaml.safe_dump(without_secrets(made), sort_keys=False, allow_unicode=True, width=1000), end="")


if __name__ == "__main__":
    main()
