"""The end of a study: its front printed, drawn and written, its failures listed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from warmexp.config.keys import baseline_of, margin_of
from warmexp.console import complain, show

if TYPE_CHECKING:  # loaded where a study ends, not by a command that only shows something
    from warmexp.analysis.result import Front
    from warmexp.studies.folder import Job, StudyFolder


class Asked(Callback):
    """Hydra's callback that keeps the configuration with which a multirun was asked for; whichever sweeper and launcher
    carry it out."""

    config: DictConfig | None = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        Asked.config = config


def end_study(cfg: DictConfig) -> int:
    """Print the front of what is finished, write it into the study's folder, list what failed.

    Args:
        cfg: the configuration with which the study was asked for, Hydra's own node included.
    Returns:
        how many jobs have no finished run.
    """
    from warmexp.studies.confirm import confirm
    from warmexp.studies.folder import StudyFolder

    study, outputs = StudyFolder(cfg.hydra.sweep.dir), Path(str(cfg.outputs)).expanduser()
    sweeper = cfg.hydra.sweeper
    if sweeper.get("dry_run") or sweeper.get("plan"):
        return 0
    asked = study.asked() if "grids" in sweeper else None
    jobs, failures = _outcome(study, asked, outputs)
    folders, front, unconfirmed = list(dict.fromkeys(outputs / job.folder for job in jobs)), None, 0
    try:
        if folders:
            front = _front(folders, study.folder, cfg)
        if front is not None and cfg.study.confirm is not None:
            unconfirmed = confirm(cfg, front, jobs, study.folder)
    finally:  # said last, and whatever became of the front
        if failures:
            complain(f"{len(failures)} failed:", *(f"  {failure}" for failure in failures))
    return len(failures) + (unconfirmed != 0)


def _outcome(study: StudyFolder, asked: Sequence[Job] | None, outputs: Path) -> tuple[list[Job], list[str]]:
    """The jobs whose run is finished, and a sentence about each of the others."""
    from warmexp.runs.stored import finished
    from warmexp.studies.behind import STOPPED
    from warmexp.studies.folder import FAILED

    states = {job.number: job for job in study.states()}
    done, failures = [], []  # one that was stopped early is neither
    for job in states.values() if asked is None else asked:
        if job.folder and finished(outputs / job.folder) is not None:
            done.append(job)
            continue
        state = states.get(job.number)
        if state and state.status == STOPPED:
            continue
        reason = state.reason if state and state.status == FAILED else "its process ended before the run was finished"
        failures.append(f"{job.label}: {reason}")
    return done, failures


def _front(folders: Sequence[Path], study: Path, cfg: DictConfig) -> Front:
    from warmexp.analysis.analysis import analyse
    from warmexp.analysis.measured import cores
    from warmexp.analysis.points import collect
    from warmexp.config.instantiate import build
    from warmexp.locks import Lock
    from warmexp.report.export import write_front
    from warmexp.report.table import print_table
    from warmexp.studies.frozen import frozen
    from warmexp.tracking.study import log_study

    points, left_out = collect(folders)
    asked = {"baseline": baseline_of(cfg.study), "margin": margin_of(cfg.study), "plan": frozen(study)}
    front = analyse(points, **asked, left_out=left_out, processes=cores())
    with Lock(study / ".front.lock"):  # several workers may end the same study
        try:
            paths = write_front(front, study / "front", title=f"Study {study.name}")
        finally:  # written before it is shown, and shown whether it can be written or not
            print_table(front)
        show(*(f"{name + ':':<8}{path}" for name, path in paths.items()))
        note = log_study(build("tracker", cfg.tracker), front, study, study.name)
    if note:
        show(note)
    return front
