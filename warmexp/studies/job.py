"""The function that Hydra calls: one run, alone or as a job of a study, in whatever process or machine a launcher puts
it."""

from __future__ import annotations

import os
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from warmexp.console import complain, show
from warmexp.errors import UserError
from warmexp.secrets import clean_text

if TYPE_CHECKING:  # torch and the rest are loaded by a job, not by a command that only shows something
    from warmexp.config.plan import Plan
    from warmexp.studies.folder import Job, StudyFolder

# Set for a job that is to come back later to a run that another process is working on, instead of waiting for it.
IF_BUSY = "WARMEXP_IF_BUSY"
BUSY = "busy"

# What a run that is no job of a study came to; read by the command line.
outcome: list[Path | Exception] = []
_said: set[str] = set()


def job(cfg: DictConfig) -> tuple[float, float] | str | None:
    """One run.

    Returns:
        (forwards per question, flexible accuracy), the objectives of a search; None where it failed; BUSY where another
        process works on it and it was not to wait; STOPPED where it lies wholly behind others and was not finished.
    """
    runtime = HydraConfig.get()
    choices = dict(runtime.runtime.choices)
    if runtime.job.chdir:
        os.chdir(
            runtime.runtime.cwd
        )  # outputs and every other path are relative to where the command was given, in all of its jobs
    if runtime.mode == RunMode.MULTIRUN:
        return _study_job(cfg, choices, runtime)
    from warmexp.config.plan import plan
    from warmexp.runs.run import run

    try:
        planned = plan(cfg, choices)
        summary = run(planned, say)
    except Exception as error:  # not raised through Hydra, which would print more than a sentence, and as it comes
        outcome.append(error)
        return None
    outcome.append(planned.folder)
    return summary["nfe_mean"], summary["accuracy_flexible"]


def _study_job(cfg: DictConfig, choices: dict[str, str], runtime) -> tuple[float, float] | str | None:
    """A job never raises: its failure is its own, is written down, and the others go on."""
    from warmexp.config.plan import plan
    from warmexp.runs.run import Locked, Stopped, run
    from warmexp.studies.behind import BEHIND, STOPPED, Behind
    from warmexp.studies.folder import FAILED, FINISHED, RUNNING, StudyFolder

    study = StudyFolder(runtime.sweep.dir)
    me = study.job(runtime.overrides.task, int(runtime.job.num)).with_(status=RUNNING)
    started = time.perf_counter()
    patient = os.environ.get(IF_BUSY) != "return"
    try:
        planned = _apart(plan(cfg, choices, multirun=True), runtime)
        me = me.with_(run_id=planned.run_id, folder=planned.run_id)
        study.write(me)
        behind = os.environ.get(BEHIND)
        summary = run(planned, say, wait=patient, stop=Behind(behind, planned.outputs) if behind else None)
    except Locked:
        return BUSY
    except Stopped as why:
        _write(study, me.with_(status=STOPPED, reason=str(why), seconds=_since(started)))
        say(f"{_place(study, me)}: stopped early, its records are kept: {why}")
        return STOPPED
    except Exception as error:
        _write(study, me.with_(status=FAILED, reason=_reason(error, study, me), seconds=_since(started)))
        return None
    me = me.with_(status=FINISHED, seconds=_since(started))
    _write(study, me)
    say(f"{_place(study, me)}: {summary['nfe_mean']:.1f} forwards, {100 * summary['accuracy_flexible']:.1f} % right")
    return summary["nfe_mean"], summary["accuracy_flexible"]


# Launchers of several processes on one machine, between which a list of devices is divided.
_BESIDE = (".Local", ".JoblibLauncher", ".LocalLauncher")


def _apart(planned: Plan, runtime) -> Plan:
    """With a launcher of several processes, a job that may choose its GPU takes one that no other job holds; with one
    that puts them all on this machine, it may choose among the devices that are named."""
    from warmexp.runs.devices import OWN

    launcher = str(runtime.launcher._target_)
    if launcher.endswith(".BasicLauncher"):
        return planned
    if len(planned.devices) > 1 and launcher.endswith(_BESIDE):
        first = planned.devices[0]
        return replace(planned, device=OWN) if first.startswith("cuda") else replace(planned, devices=(first,))
    return replace(planned, device=OWN) if planned.device == "cuda" and planned.config["device"] == "auto" else planned


def _reason(error: Exception, study: StudyFolder, me: Job) -> str:
    """The sentence for a failure; where it is no user's mistake, the traceback is kept beside the job's file."""
    if isinstance(error, UserError):
        reason = str(error)
    else:
        text = " ".join(str(error).split())[:300]
        reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
        file = study.jobs / f"{me.number}.traceback.txt"
        try:
            file.write_text(clean_text("".join(traceback.format_exception(error))), encoding="utf-8")
            reason += f" ({file})"
        except OSError:
            traceback.print_exception(error)
    complain(f"{_place(study, me)}: failed: {reason}")
    return reason


def _write(study: StudyFolder, me: Job) -> None:
    """A result is not lost because it cannot be noted down."""
    try:
        study.write(me)
    except UserError as error:
        complain(f"warmexp: {error}")


def _place(study: StudyFolder, me: Job) -> str:
    asked = study.asked()
    return f"[{me.number + 1}{f'/{len(asked)}' if asked else ''}] {me.label}"


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 3)


def say(sentence: str) -> None:
    """A line for the user; a study repeats no warning."""
    if sentence.startswith("warning") and sentence in _said:
        return
    _said.add(sentence)
    show(sentence)
