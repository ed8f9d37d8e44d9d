"""`python -m warmexp`: compose with Hydra, check, run. Thin on purpose; the work is in config.py and run.py."""

from __future__ import annotations

import os
import sys

# Hydra then raises its errors instead of printing and exiting, so that a user's mistake becomes one sentence here.
_FULL_ERROR = os.environ.setdefault("HYDRA_FULL_ERROR", "1")

import hydra  # noqa: E402
from hydra.core.hydra_config import HydraConfig  # noqa: E402
from hydra.errors import HydraException  # noqa: E402
from hydra.types import RunMode  # noqa: E402
from omegaconf import DictConfig  # noqa: E402
from omegaconf.errors import OmegaConfBaseException  # noqa: E402

from warmexp.config import conf_dir, plan  # noqa: E402
from warmexp.errors import UserError  # noqa: E402
from warmexp.messages import explain  # noqa: E402
from warmexp.studies import register  # noqa: E402

GREEK = {"ρ": "rho", "λ": "lambda", "τ": "tau"}

# What the jobs of this process did, for the table at the end and the exit code.
_folders: list = []
_failures: list[str] = []


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")
def app(cfg: DictConfig) -> float | None:
    """One job. A user's mistake fails this job, not the others of a sweep (and is not raised: Hydra would print more than a sentence)."""
    from warmexp.run import run

    runtime = HydraConfig.get()
    sweeping = runtime.mode == RunMode.MULTIRUN
    try:
        planned = plan(cfg, dict(runtime.runtime.choices), multirun=sweeping)
        run(planned, say)
        _folders.append(planned.folder)
    except UserError as error:
        _failures.append(f"{' '.join(runtime.overrides.task) or 'the job'}: {error}")
        print(f"warmexp: {error}", file=sys.stderr)
    return None


_said: set[str] = set()


def say(sentence: str) -> None:
    """A line for the user; a sweep repeats no warning."""
    if sentence.startswith("warning") and sentence in _said:
        return
    _said.add(sentence)
    print(sentence, flush=True)


def _latin(argument: str) -> str:
    """ρ=0.5 is rho=0.5."""
    name, equals, value = argument.partition("=")
    return GREEK.get(name, name) + equals + value


def _report() -> None:
    from warmexp.front.analysis import analyse
    from warmexp.front.points import load_point
    from warmexp.front.table import print_table

    folders = list(dict.fromkeys(_folders))
    if folders:
        print_table(analyse([load_point(folder) for folder in folders]))
    for folder in folders:
        print(folder)
    if _failures and len(_failures) + len(_folders) > 1:
        print(f"{len(_failures)} failed:", *_failures, sep="\n  ", file=sys.stderr)


def main() -> None:
    """Entry point of `python -m warmexp` and of the console script. Exit status: 0, 1 (a defect), 2 (a user's mistake), 130."""
    sys.argv[1:] = [_latin(argument) for argument in sys.argv[1:]]
    register()
    try:
        app()
        if _folders or _failures:
            _report()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        print(f"warmexp: {explain(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("warmexp: interrupted; what was decoded is kept, and the same command goes on from there.", file=sys.stderr)
        sys.exit(130)
    if _failures:
        sys.exit(2)


if __name__ == "__main__":
    main()
