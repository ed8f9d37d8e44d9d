"""`python -m warmexp`: compose with Hydra, check, run. Thin on purpose; the work is in config.py, run.py and study/."""

from __future__ import annotations

import os
import sys
import traceback

# Hydra then raises its errors instead of printing and exiting, so that a user's mistake becomes one sentence here.
_FULL_ERROR = os.environ.setdefault("HYDRA_FULL_ERROR", "1")

import hydra  # noqa: E402

from warmexp import __version__  # noqa: E402
from warmexp.config import allowed, parser  # noqa: E402
from warmexp.config.devices import joined  # noqa: E402
from warmexp.config.flags import DRY_RUN, PLAN, in_order  # noqa: E402
from warmexp.config.keys import GREEK, conf_dir  # noqa: E402
from warmexp.config.messages import MISTAKES, explain  # noqa: E402
from warmexp.config.plugins import take_words  # noqa: E402
from warmexp.config.quoting import unescaped  # noqa: E402
from warmexp.config.words import check_words, spread  # noqa: E402
from warmexp.console import GOES_ON, complain, ending, show  # noqa: E402
from warmexp.errors import UserError  # noqa: E402
from warmexp.studies.end import Asked, end_study  # noqa: E402
from warmexp.studies.job import job, outcome  # noqa: E402
from warmexp.studies.named import register, study_name, sweeper_of  # noqa: E402

app = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(job)


def _arguments(words: list[str]) -> list[str]:
    """What Hydra is given: Greek keys by their names, escapes read, several devices as a list, a name for a multirun
    that has none, our own flag as the sweeper's key."""
    words = take_words([joined(_latin(unescaped(word))) for word in words])
    check_words(words)
    words = spread(words)
    for flag, key, sweepers in ((DRY_RUN, "dry_run", ("study", "search")), (PLAN, "plan", ("study",))):
        if flag in words:
            words = _looking(words, flag, key, sweepers)
    name, sweeper = study_name(words), sweeper_of(words)
    added = [*([f"study.name='{name}'"] if name else []), *([f"hydra/sweeper={sweeper}"] if sweeper else [])]
    return in_order([*words, *added])


def _looking(words: list[str], flag: str, key: str, sweepers: tuple[str, ...]) -> list[str]:
    """The words for a study that is looked at and not run; a single run is a study of one."""
    asked = [word.partition("=")[2] for word in words if word.startswith("hydra/sweeper=")] or [
        sweeper_of(words) or "study"
    ]
    if asked[-1] not in sweepers:
        raise UserError(
            f"{flag} with hydra/sweeper={asked[-1]} is not possible: that sweeper says nothing before it begins."
        )
    several = [] if {"-m", "--multirun"} & set(words) else ["-m"]
    return [*several, *(word for word in words if word != flag), f"hydra.sweeper.{key}=true"]


def _latin(argument: str) -> str:
    """ρ=0.5 is rho=0.5."""
    name, equals, value = argument.partition("=")
    return GREEK.get(name, name) + equals + value


def _end() -> int:
    """What comes after the last job, and the exit status."""
    if outcome:
        (result,) = outcome
        if isinstance(result, Exception):
            raise result
        _show(result)
        return 0
    return 1 if Asked.config is not None and end_study(Asked.config) else 0


def _show(folder) -> None:
    from warmexp.analysis.analysis import analyse
    from warmexp.analysis.points import load_point
    from warmexp.report.table import print_table

    print_table(analyse([load_point(folder)]))
    show(folder)


def main() -> None:
    """Entry point of `python -m warmexp` and of the console script.

    Exit status: 0; 1 (a job of a study failed, or a defect); 2 (a user's mistake); 130 (interrupted).
    """
    allowed.install()
    parser.install()
    outcome.clear()
    Asked.config = None
    try:
        with ending(explain, MISTAKES, GOES_ON):
            register(sys.argv[1:])
            sys.argv[1:] = _arguments(sys.argv[1:])
            if "--version" in sys.argv:
                show(f"warmexp {__version__}, Hydra {hydra.__version__}")
                return
            app()
            status = _end()
    except Exception:  # a defect; what it says may hold anything
        complain(traceback.format_exc().rstrip())
        sys.exit(1)
    if status:
        sys.exit(status)


if __name__ == "__main__":
    main()
