"""Points become a front: who is not dominated, what each run saves against the baseline's own front, and which differences are real.

Runs are compared where backbone, task and questions are the same; such runs are a group, and every group has its own front and baseline.
`pooled` puts all runs into one group, and every picture and table then says so. Everything here is a pure function of run folders: the
points say which, their records are read. Resampling is seeded, so the same folders always give the same front.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import warmexp
from warmexp.errors import UserError, check_range
from warmexp.front import baseline as base
from warmexp.front.axes import axis
from warmexp.front.baseline import Saved
from warmexp.front.compare import Paired, compare, partner
from warmexp.front.indicators import aup, hypervolume, non_dominated
from warmexp.front.jsonable import jsonable
from warmexp.front.measured import Measured, measure
from warmexp.front.points import Point
from warmexp.front.proposals import by_proposal
from warmexp.front.resample import percentile_interval, replicate_means

FORMAT = 1
MARGIN = 0.01
REFERENCE = 1.1  # the reference point's x, in units of the largest x


@dataclass(frozen=True)
class Result:
    """One run in its group. x is in the axis' unit per question, accuracy a share by the chosen filter.

    saved, paired: None with the reason beside it. by_proposal, calibration: see proposals.py and calibration.py.
    """

    measured: Measured
    group: int
    x: float
    x_ci95: tuple[float, float]
    on_front: bool
    is_baseline: bool
    saved: Saved | None
    saved_reason: str | None
    paired: Paired | None
    paired_reason: str | None
    by_proposal: dict[str, Any] | None

    @property
    def point(self) -> Point:
        return self.measured.point

    @property
    def accuracy(self) -> float:
        return self.point.accuracy


@dataclass(frozen=True)
class Curve:
    """Runs that differ in the threshold alone, cheapest first, as one curve."""

    label: str
    runs: tuple[str, ...]
    hypervolume: float
    aup: float | None
    is_baseline: bool


@dataclass(frozen=True)
class Group:
    """Runs that may be compared. front, baseline_front: (x, accuracy) of the non-dominated runs and of the corners of the baseline's hull.

    hypervolume: share of the rectangle up to the reference point that the front dominates. aup: of the front; None where the records do
    not count tokens. The baseline's own numbers stand beside them.
    """

    backbone: str
    task: str
    questions: tuple[str, ...]
    n: int  # different questions
    front: tuple[tuple[float, float], ...]
    baseline_runs: tuple[str, ...]
    baseline_front: tuple[tuple[float, float], ...]
    reference_x: float
    hypervolume: float
    aup: float | None
    baseline_hypervolume: float | None
    baseline_aup: float | None
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Front:
    """What front.json holds. groups: largest first; the first one's numbers are also front.json's own."""

    x: str
    accuracy: str
    selector: str
    margin: float
    pooled: bool
    caveats: tuple[str, ...]
    left_out: tuple[str, ...]
    groups: tuple[Group, ...]
    runs: tuple[Result, ...]

    @property
    def x_label(self) -> str:
        return axis(self.x).label

    @cached_property
    def varying(self) -> tuple[str, ...]:
        """Dotted keys of the config in which the runs differ, without those that follow from a choice that differs anyway."""
        settings = [dict(run.point.settings) for run in self.runs]
        keys = sorted({key for one in settings for key in one})
        return tuple(key for key in keys if _differs(settings, key) and not _follows(settings, key))

    def to_json(self) -> dict[str, Any]:
        """front.json, format 1: plain JSON values, no NaN."""
        first = self.groups[0] if self.groups else None
        questions = {q: {"n": run.point.n, "task": run.point.task} for run in self.runs for q in [run.point.questions]}
        return jsonable(
            {
                "format": FORMAT,
                "warmexp": warmexp.__version__,
                "x": self.x,
                "x_label": self.x_label,
                "accuracy": self.accuracy,
                "pooled": self.pooled,
                "margin": self.margin,
                "caveats": self.caveats,
                "left_out": self.left_out,
                "questions": questions,
                "baseline": {
                    "selector": self.selector,
                    "runs": first.baseline_runs if first else [],
                    "front": first.baseline_front if first else [],
                    "hypervolume": first.baseline_hypervolume if first else None,
                    "aup": first.baseline_aup if first else None,
                },
                "reference_point": {"x": first.reference_x if first else None, "accuracy": 0},
                "hypervolume": first.hypervolume if first else None,
                "aup": first.aup if first else None,
                "front": first.front if first else [],
                "curves": first.curves if first else [],
                "groups": self.groups,
                "varying": self.varying,
                "runs": [_run_json(run) for run in self.runs],
            }
        )


def _differs(settings: list[dict], key: str) -> bool:
    return len({str(one.get(key)) for one in settings}) > 1


def _follows(settings: list[dict], key: str) -> bool:
    """Whether the group's choice tells the value: `proposer.path` is the same in all runs of one proposer."""
    choice = f"choices.{key.partition('.')[0]}"
    if key == choice or not any(choice in one for one in settings):
        return False
    return all(not _differs([one for one in settings if one.get(choice) == value], key) for value in {one.get(choice) for one in settings})


def _run_json(run: Result) -> dict[str, Any]:
    point, measured = run.point, run.measured
    return {
        "run_id": point.run_id,
        "folder": str(point.folder),
        "label": point.label,
        "method": point.method,
        "parameters": point.parameters,
        "remask": point.remask,
        "unmask": point.unmask,
        "variant": point.variant,
        "proposer": point.proposer,
        "backbone": point.backbone,
        "task": point.task,
        "tau": point.tau,
        "oracle": point.oracle,
        "n": point.n,
        "questions": point.questions,
        "group": run.group,
        "x": run.x,
        "x_ci95": run.x_ci95,
        "accuracy": point.accuracy,
        "accuracy_ci95": point.accuracy_ci95,
        "accuracies": {"strict": point.accuracy_strict, "flexible": point.accuracy_flexible},
        "proposal_accuracy": point.proposal_accuracy,
        "metrics": {name: float(values.mean()) for name, values in measured.x.items()},
        "aux_forwards": measured.aux_forwards,
        "tokens": None if measured.tokens is None else float(measured.tokens.mean()),
        "on_front": run.on_front,
        "is_baseline": run.is_baseline,
        "saved": run.saved,
        "saved_reason": run.saved_reason,
        "paired": run.paired,
        "paired_reason": run.paired_reason,
        "by_proposal": run.by_proposal,
        "calibration": measured.calibration,
        "settings": dict(point.settings),
    }


def analyse(
    points: Sequence[Point],
    *,
    x: str = "nfe",
    baseline: str = base.DEFAULT,
    pooled: bool = False,
    margin: float = MARGIN,
    left_out: Sequence[str] = (),
) -> Front:
    """Everything about a set of runs that the table, the pictures and the report show.

    Args:
        points: finished runs, all collected with the same accuracy filter; their records are read.
        x: an axis of axes.AXES. baseline: a selector (baseline.select). margin: of non-inferiority, a share of the questions.
        pooled: compare runs on different questions, backbones or tasks with each other.
        left_out: sentences about folders that did not become points, passed through.
    Raises:
        UserError: for an unknown axis, a wrong margin or selector.
    """
    axis(x)
    check_range("margin", margin, 0.0, 1.0, "how much accuracy may be lost, as a share of the questions", open_low=True)
    filters = {p.accuracy_filter for p in points}
    if len(filters) > 1:
        raise ValueError("points with different accuracy filters have no common front")
    left, measured = list(left_out), []
    for point in points:
        try:
            one = measure(point)
        except UserError as error:
            left.append(str(error))
            continue
        if x in one.x:
            measured.append(one)
        else:
            left.append(f"{point.folder}: its records say nothing about {x}: they are of an earlier version.")
    chosen = {p.run_id for p in base.select([m.point for m in measured], baseline)}
    parts = _parts(measured, pooled)
    groups, runs = [], []
    for number, part in enumerate(parts):
        group, results = _group(number, part, x, chosen, margin)
        groups.append(group)
        runs += results
    order = {point.run_id: i for i, point in enumerate(points)}
    runs.sort(key=lambda run: order[run.point.run_id])
    return Front(
        x=x,
        accuracy=filters.pop() if filters else "flexible",
        selector=baseline,
        margin=margin,
        pooled=pooled,
        caveats=tuple(_caveats(measured, groups, x, baseline, pooled)),
        left_out=tuple(left),
        groups=tuple(groups),
        runs=tuple(runs),
    )


def _parts(measured: list[Measured], pooled: bool) -> list[list[Measured]]:
    """Comparable runs together, the largest group first."""
    parts: dict[tuple, list[Measured]] = {}
    for one in measured:
        parts.setdefault(() if pooled else (one.point.backbone, one.point.task, one.point.questions), []).append(one)
    return sorted(parts.values(), key=lambda part: (-len(part), -part[0].point.n))


def _group(number: int, part: list[Measured], x: str, chosen: set[str], margin: float) -> tuple[Group, list[Result]]:
    cost = np.array([m.x[x].mean() for m in part])
    accuracy = np.array([m.right.mean() for m in part])
    x_star, accuracy_star = _replicates(part, x)
    ranked = np.array([not m.point.oracle for m in part])
    is_baseline = np.array([m.point.run_id in chosen for m in part])
    on_front = np.zeros(len(part), dtype=bool)
    on_front[ranked] = non_dominated(cost[ranked], accuracy[ranked])
    with_baseline = bool(is_baseline.any())
    saved = base.savings(cost, accuracy, list(np.flatnonzero(is_baseline)), x_star, accuracy_star) if with_baseline else None
    results = []
    for i, one in enumerate(part):
        other = None if is_baseline[i] else partner(i, part, list(np.flatnonzero(is_baseline)))
        no = (
            "no run here matches the baseline's selector"
            if not with_baseline
            else "this run is part of the baseline"
            if is_baseline[i]
            else None
        )
        paired, reason = compare(i, other, part, x, x_star, margin) if other is not None else (None, no)
        interval = one.point.nfe_ci95 if x == "nfe" else percentile_interval(x_star[:, i])
        results.append(
            Result(
                measured=one,
                group=number,
                x=float(cost[i]),
                x_ci95=interval,
                on_front=bool(on_front[i]),
                is_baseline=bool(is_baseline[i]),
                saved=saved[i] if saved and not is_baseline[i] else None,
                saved_reason=no,
                paired=paired,
                paired_reason=reason,
                by_proposal=_by_proposal(one, part[other] if paired is not None and paired.n == one.point.n else None),
            )
        )
    return _numbers(part, x, cost, accuracy, ranked, on_front, is_baseline), results


def _replicates(part: list[Measured], x: str) -> tuple[np.ndarray, np.ndarray]:
    """[B, k] resampled mean costs and accuracies; runs on the same questions share the draws."""
    columns: dict[tuple, list[int]] = {}
    for i, one in enumerate(part):
        columns.setdefault((one.point.questions, one.ids), []).append(i)
    blocks = []
    for (name, _), members in columns.items():
        values = np.stack([part[i].x[x] for i in members] + [part[i].right for i in members], axis=1)
        blocks.append((members, replicate_means(values, name)))
    resamples = len(blocks[0][1])
    x_star, accuracy_star = np.empty((resamples, len(part))), np.empty((resamples, len(part)))
    for members, means in blocks:
        x_star[:, members], accuracy_star[:, members] = np.split(means, 2, axis=1)
    return x_star, accuracy_star


def _by_proposal(one: Measured, other: Measured | None) -> dict[str, Any] | None:
    proposal_right = one.proposal_right.get(one.point.accuracy_filter)
    return None if proposal_right is None else by_proposal(one.right, proposal_right, None if other is None else other.right, one.injected)


def _numbers(part, x, cost, accuracy, ranked, on_front, is_baseline) -> Group:
    reference = REFERENCE * float(cost[ranked].max() if ranked.any() else cost.max())
    best = float(accuracy[ranked].max()) if ranked.any() else 0.0
    tokens = None if any(m.tokens is None for m in part) else np.array([m.tokens.mean() for m in part])

    def both(mask: np.ndarray) -> tuple[float, float | None]:
        area = None if tokens is None else aup(tokens[mask] / cost[mask], accuracy[mask], best)
        return hypervolume(cost[mask], accuracy[mask], reference), area

    curves: dict[tuple, list[int]] = {}
    for i in np.flatnonzero(ranked):
        settings = tuple((key, value) for key, value in part[i].point.settings if key != "unmask.tau")
        curves.setdefault((part[i].point.questions, settings), []).append(int(i))
    ids = [m.point.run_id for m in part]
    front = sorted((float(cost[i]), float(accuracy[i])) for i in np.flatnonzero(on_front))
    corners = base.hull(cost[is_baseline], accuracy[is_baseline]) if is_baseline.any() else ((), ())
    baseline = both(is_baseline) if is_baseline.any() else (None, None)
    whole = both(on_front)
    return Group(
        backbone=", ".join(sorted({m.point.backbone for m in part})),
        task=", ".join(sorted({m.point.task for m in part})),
        questions=tuple(dict.fromkeys(m.point.questions for m in part)),
        n=len({(m.point.task, i) for m in part for i in m.ids}),
        front=tuple(front),
        baseline_runs=tuple(ids[i] for i in np.flatnonzero(is_baseline)),
        baseline_front=tuple((float(a), float(b)) for a, b in zip(*corners, strict=True)),
        reference_x=reference,
        hypervolume=whole[0],
        aup=whole[1],
        baseline_hypervolume=baseline[0],
        baseline_aup=baseline[1],
        curves=tuple(_curve([part[i] for i in sorted(members, key=lambda i: cost[i])], *both(np.array(members)), members, is_baseline)
                     for members in curves.values()),
    )  # fmt: skip


def _curve(runs: list[Measured], area: float, parallel: float | None, members: list[int], is_baseline: np.ndarray) -> Curve:
    point = runs[0].point
    source = "" if point.proposer == "none" else f" from {point.proposer}"
    return Curve(point.variant + source, tuple(m.point.run_id for m in runs), area, parallel, bool(is_baseline[members].all()))


def _caveats(measured: list[Measured], groups: list[Group], x: str, baseline: str, pooled: bool) -> list[str]:
    """What a reader must know before comparing, one sentence each."""
    found = []
    if pooled:
        for what, values in (
            ("tasks", {m.point.task for m in measured}),
            ("backbones", {m.point.backbone for m in measured}),
            ("sets of questions", {m.point.questions for m in measured}),
        ):
            if len(values) > 1:
                found.append(f"Pooled: these runs used {len(values)} different {what}.")
    elif len(groups) > 1:
        found.append(f"{len(groups)} groups of runs differ in questions, task or backbone: each has its own front, none is compared.")
    for group in groups:
        if not group.baseline_runs:
            found.append(f"No run on {group.task} ({group.n} questions) matches the baseline {baseline}: no saving can be said.")
        elif len(group.baseline_front) == 1:
            found.append(
                "The baseline's front is a single point: vary its threshold (sweeps/threshold.yaml) for savings at equal accuracy."
            )
    if x == "nfe" and any(m.aux_forwards > 0 for m in measured):
        found.append("NFE leaves out auxiliary forwards (a self-draft's): x=full_forward_equivalents counts them.")
    return found
