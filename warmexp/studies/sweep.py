"""A study from its points to the end of its last job: plan, fold, leave out what is finished, launch the rest, come
back to the busy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from warmexp.analysis.paired import fewest_questions
from warmexp.config.keys import baseline_of, margin_of
from warmexp.config.messages import explain
from warmexp.config.plan import plan
from warmexp.config.points import Points
from warmexp.console import complain, show
from warmexp.errors import UserError
from warmexp.runs.circumstances import other_seconds
from warmexp.runs.stored import finished
from warmexp.studies.dry_run import print_forecast
from warmexp.studies.fold import Point, fold
from warmexp.studies.folder import FAILED, FINISHED, Job, StudyFolder, labels
from warmexp.studies.frozen import freeze, plan_of
from warmexp.studies.job import BUSY, IF_BUSY

# A launcher that gives up because one of its processes died is asked again for the others; this often in all.
_ROUNDS = 3


def sweep(sweeper: Sweeper, overrides: Sequence[Sequence[str]]) -> list[Any]:
    """Carry out a study, or tell what it would do.

    Args:
        sweeper: has Hydra's config, context and launcher.
        overrides: a command line per point.
    Returns:
        what the jobs returned.
    Raises:
        UserError: no point can be run, and all for the same reason.
    """
    composing = Points(partial(sweeper.hydra_context.config_loader.load_sweep_config, sweeper.config))
    points, folded = fold([point_of(sweeper, tuple(words), composing) for words in overrides])
    problems = {point.problem for point in points}
    if len(problems) == 1 and None not in problems:
        raise UserError(problems.pop())
    points = [_lean(sweeper, point, composing) for point in points]
    possible = [point for point in points if not point.problem]
    done = [point for point in possible if finished(point.folder) is not None]
    # What is finished needs no job, unless a tracker is to be told of it.
    todo = [point for point in possible if point not in done or point.choices["tracker"] != "none"]
    study = StudyFolder(sweeper.config.hydra.sweep.dir)
    show(f"study {study.folder.name}: {len(points)} jobs, {len(done)} of them finished")
    if folded:
        show(folded)
    margin = margin_of(sweeper.config.study)
    for sentence in _cautions(done, possible, margin):
        show(sentence)
    if sweeper.dry_run:
        print_forecast(points)
        return []
    names = labels([point.overrides for point in points])
    jobs = [
        Job(i, point.overrides, name, point.run_id, point.run_id)
        for i, (point, name) in enumerate(zip(points, names, strict=True))
    ]
    started = any((point.folder / "records.jsonl").exists() for point in possible)
    if changed := freeze(study.folder, plan_of(sweeper.config.study, points), started):
        show(changed)
    study.ask(jobs, name=sweeper.config.study.name, baseline=baseline_of(sweeper.config.study))
    for job, point in zip(jobs, points, strict=True):
        if point.problem:
            study.write(job.with_(status=FAILED, reason=point.problem))
        elif point not in todo:
            study.write(job.with_(status=FINISHED, seconds=0.0))
        else:
            study.forget(job)
    return _launch(sweeper, study, [(job, point) for job, point in zip(jobs, points, strict=True) if point in todo])


def _cautions(done: Sequence[Point], possible: Sequence[Point], margin: float) -> list[str]:
    """What is better known before a study is run than after it."""
    said = []
    for clause, count in Counter(point.seconds for point in done if point.seconds).items():
        said.append(
            f"note: of {count} finished run{'s' if count > 1 else ''} {clause}; delete a run's folder to measure its"
            " seconds anew"
        )
    fewest, n = fewest_questions(margin), min((point.questions for point in possible), default=0)
    if 0 < n < fewest:
        said.append(
            f"note: {n} questions cannot show that a run loses less than {100 * margin:g} %, not even one that never"
            f" differs from the baseline; that takes {fewest}, or a wider margin"
        )
    return said


def _launch(sweeper: Sweeper, study: StudyFolder, todo: list[tuple[Job, Point]]) -> list[Any]:
    """Launch jobs until none is left that another process was working on or whose own process died.

    In the first round a job leaves a busy run alone, so that several workers share a study; after it, it waits.
    """
    returned: list[Any] = []
    told: str | None = None
    for attempt in range(_ROUNDS):
        if not todo:
            break
        patience = f"++hydra.job.env_set.{IF_BUSY}={'return' if attempt == 0 else 'wait'}"
        try:
            results = sweeper.launcher.launch(
                [[*job.overrides, patience] for job, _ in todo], initial_job_idx=todo[0][0].number
            )
        except Exception as error:  # the launcher's own: a worker was killed, a cluster refused
            failed = {job.number for job in study.states() if job.status == FAILED}
            left = [(job, point) for job, point in todo if job.number not in failed and finished(point.folder) is None]
            why = given_up(error)
            if why != told:
                complain(f"warmexp: the launcher gave up: {why}")
            elif len(left) == len(todo):  # and would again
                for job, _ in left:
                    study.write(job.with_(status=FAILED, reason=why))
                break
            todo, told = left, why
            continue
        values = [value_of(result, study, job) for result, (job, _) in zip(results, todo, strict=True)]
        returned += [value for value in values if value != BUSY]
        todo = [pair for pair, value in zip(todo, values, strict=True) if value == BUSY]
    return returned


def given_up(error: Exception) -> str:
    """A launcher's complaint, with what to do where that is known."""
    said = _said(error)
    if "srun" in said or "slurm" in said.lower():
        return f"{said}: where Slurm's commands are not found, submit from a login node, or use hydra/launcher=local"
    return said


def value_of(result: JobReturn, study: StudyFolder, job: Job) -> Any:
    """What a job returned; None where it did not live to return anything, which is then written down for it."""
    if result.status == JobStatus.COMPLETED:
        return result.return_value
    try:
        _ = result.return_value
    except Exception as error:
        study.write(job.with_(status=FAILED, reason=_said(error)))
    return None


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def forecast_of(sweeper: Sweeper, overrides: Sequence[Sequence[str]]) -> list[Any]:
    """`--plan`: what a study, or one run, needs and takes. Nothing is planned as a run would be, since that would
    download."""
    from warmexp.studies.forecast import Job as Asked
    from warmexp.studies.forecast import forecast

    jobs = []
    for words in dict.fromkeys(tuple(words) for words in overrides):
        cfg = sweeper.hydra_context.config_loader.load_sweep_config(sweeper.config, list(words))
        choices = dict(OmegaConf.to_container(cfg.hydra.runtime.choices))
        jobs.append(Asked(words, cfg, {group: str(option) for group, option in choices.items()}))
    forecast(jobs, Path(str(sweeper.config.outputs)).expanduser(), len(jobs) > 1)
    return []


def point_of(sweeper: Sweeper, words: tuple[str, ...], composing: Points | None = None) -> Point:
    """What a command line would run. It is composed and checked, so that a mistake is known before the first job
    starts.

    composing: of all points that are asked for together.
    """
    load = partial(sweeper.hydra_context.config_loader.load_sweep_config, sweeper.config)
    try:
        points = composing or Points(load)
        with points.composed(words) as (cfg, choices):
            planned = plan(cfg, choices, multirun=True, once=points.once)
        asked = {"batch_size": planned.batch_size, "engine": planned.engine, "share": planned.share}
        seconds = other_seconds(planned.folder, asked) if finished(planned.folder) is not None else None
        return Point(words, planned.run_id, planned.folder, len(planned.questions), planned.choices, seconds=seconds)
    except (UserError, HydraException, OmegaConfBaseException) as error:
        return Point(words, None, None, 0, {}, explain(error))
    except Exception as error:  # one point's defect is not the others'
        return Point(words, None, None, 0, {}, _said(error))


def _lean(sweeper: Sweeper, point: Point, composing: Points) -> Point:
    """A point without the words that do nothing for it, so that its run's configuration does not show one of many
    values."""
    if not point.idle:
        return point
    words = tuple(word for word in point.overrides if word.partition("=")[0] not in point.idle)
    lean = point_of(sweeper, words, composing)
    return lean if lean.run_id == point.run_id else point
