"""Points become a front: who is not dominated, what each run saves against the baseline's own front, and which
differences are real.

Runs are compared where backbone, task and questions are the same; such runs are a group, and every group has its own
front and baseline. `pooled` puts all runs into one group, and every picture and table then says so. Everything here is
a pure function of run folders: the points say which, their records are read. Resampling is seeded, so the same folders
always give the same front.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from warmexp.analysis.adding import adding
from warmexp.analysis.axes import axis
from warmexp.analysis.baseline import DEFAULT, select
from warmexp.analysis.checklist import checklist
from warmexp.analysis.chosen import TUNING, choose
from warmexp.analysis.group import Together, numbers, results
from warmexp.analysis.measured import Measured, measure_all
from warmexp.analysis.outside import Outside
from warmexp.analysis.points import Point
from warmexp.analysis.quality import quality_curves
from warmexp.analysis.result import Asked, Front, Group, Result
from warmexp.analysis.seeds import merged
from warmexp.errors import UserError, check_range

MARGIN = 0.01


def analyse(
    points: Sequence[Point],
    *,
    x: str = "nfe",
    baseline: str = DEFAULT,
    pooled: bool = False,
    margin: float = MARGIN,
    left_out: Sequence[str] = (),
    reference: float | None = None,
    processes: int = 1,
    plan: dict[str, Any] | None = None,
    outside: Sequence[Outside] = (),
) -> Front:
    """Everything about a set of runs that the table, the pictures and the report show.

    Args:
        points: finished runs, all collected with the same accuracy filter; their records are read.
        x: an axis of axes.AXES. baseline: a selector (baseline.select). margin: of non-inferiority, a share of the
        questions.
        pooled: compare runs on different questions, backbones or tasks with each other.
        reference: x of the hypervolume's reference point, whose accuracy is 0; by default a tenth beyond the dearest
            run. A study compared with another by its hypervolume needs the same one.
        plan: what a study wrote down before its first record (studies/frozen.py). outside: points from elsewhere.
        left_out: sentences about folders that did not become points, passed through. processes: that read records
        (measured.measure_all).
    Raises:
        UserError: for an unknown axis, a wrong margin or selector.
    """
    axis(x)
    check_range("margin", margin, 0.0, 1.0, "how much accuracy may be lost, as a share of the questions", open_low=True)
    if reference is not None and not 0 < reference < math.inf:
        raise UserError(f"reference={reference} is not above 0: it is the {x} of the hypervolume's reference point.")
    filters = {p.accuracy_filter for p in points}
    if len(filters) > 1:
        raise ValueError("points with different accuracy filters have no common front")
    measured, unread = _measured(points, x, processes)
    measured = merged(measured)
    accuracy = filters.pop() if filters else "flexible"
    asked = Asked(
        x=x,
        accuracy=accuracy,
        selector=baseline,
        margin=margin,
        pooled=pooled,
        reference=reference,
        plan=plan,
        outside=tuple(outside),
    )
    return _front(measured, asked, (*left_out, *unread))


def along(front: Front, x: str) -> Front:
    """The same runs along another axis, without reading their records again; runs whose records lack it are left out.

    The reference point is the default one: what was stated for an axis says nothing about another.

    Raises:
        UserError: for an unknown axis.
    """
    axis(x)
    measured = [run.measured for run in front.runs if x in run.measured.x]
    same = {part.name: getattr(front, part.name) for part in fields(Asked)}
    asked = Asked(**same | {"x": x, "reference": None})
    return _front(measured, asked, front.left_out)


def _front(measured: list[Measured], asked: Asked, left_out: Sequence[str]) -> Front:
    chosen = {p.run_id for p in select([m.point for m in measured], asked.selector)}
    parts = _parts(measured, asked.pooled)
    together = [Together.of(part, asked.x, choose(part, parts, chosen, asked.x)) for part in parts]
    groups = [numbers(one, asked.reference) for one in together]
    order = {one.point.run_id: i for i, one in enumerate(measured)}
    runs = [run for number, one in enumerate(together) for run in results(one, number, asked.margin)]
    runs.sort(key=lambda run: order[run.point.run_id])
    groups = [
        replace(group, name=name, caveats=tuple(_caveats_of(number, group, runs, asked)))
        for number, (group, name) in enumerate(zip(groups, _names(groups), strict=True))
    ]
    general = tuple(_general(runs, groups, asked))
    found = {"groups": tuple(groups), "runs": tuple(runs), "prior_quality": quality_curves(runs)}
    found |= {"checklist": checklist(runs, groups, asked)}
    return Front(**vars(asked), general=general, left_out=tuple(left_out), **found)


def _measured(points: Sequence[Point], x: str, processes: int) -> tuple[list[Measured], list[str]]:
    """The points with their records, and a sentence for each whose records cannot be used."""
    measured, unread = [], []
    for point, one in zip(points, measure_all(points, processes), strict=True):
        if isinstance(one, UserError):
            unread.append(str(one))
        elif x in one.x:
            measured.append(one)
        else:
            unread.append(f"{point.folder}: its records are of an earlier version and say nothing about {x}.")
    return measured, unread


def _parts(measured: list[Measured], pooled: bool) -> list[list[Measured]]:
    """Comparable runs together, the largest group first, and those on a calibration split behind those that it was
    for."""
    parts: dict[tuple, list[Measured]] = {}
    for one in measured:
        parts.setdefault(
            () if pooled else (one.point.backbone, one.point.model, one.point.task, one.point.questions), []
        ).append(one)
    return sorted(parts.values(), key=lambda part: (part[0].point.split in TUNING, -len(part), -part[0].point.n))


def _names(groups: Sequence[Group]) -> list[str]:
    """What tells groups of runs apart, in as few words as do; a number where words do not."""
    names = [f"{group.n} {group.task} questions" for group in groups]
    for more in (
        lambda group: "" if group.split == "not named" else f", {group.split} split",
        lambda group: f", {group.backbone} backbone",
    ):
        if len({more(group) for group in groups}) > 1:
            names = [name + more(group) for name, group in zip(names, groups, strict=True)]
    twice = {name for name, times in Counter(names).items() if times > 1}
    return [f"{name} ({number})" if name in twice else name for number, name in enumerate(names, 1)]


def _seconds(runs: list[Result]) -> list[str]:
    """Where seconds were measured under different circumstances."""
    told = [dict(run.point.circumstances) for run in runs]
    differing = []
    for name in sorted({name for one in told for name in one}):
        counts = Counter(one.get(name, "not known") for one in told)
        if len(counts) > 1:
            differing.append(f"{name} {', '.join(f'{value} ({count})' for value, count in sorted(counts.items()))}")
    if not differing:
        return []
    return [f"Seconds were measured under different circumstances and do not compare: {'; '.join(differing)} (runs)."]


def _plan(plan: dict[str, Any] | None) -> list[str]:
    if plan is None or not plan["changes"]:
        return []
    keys = sorted({key for change in plan["changes"] for key in change["keys"]})
    looks = len(plan["changes"]) + 1
    repeated = "questions" in keys
    tail = (
        f" Questions were added after a look: with {looks} looks an error of 5 % is no longer 5 % (docs/numbers.md)."
        if repeated
        else ""
    )
    return [f"The plan was changed after it was frozen ({', '.join(keys)}).{tail}"]


def _on_test(group: Group, runs: list[Result]) -> list[str]:
    """Where several runs were tried on the questions that they are reported on."""
    mine = [run for run in runs if run.paired and run.paired.compared]
    found = []
    if group.split == "test" and len(mine) > 1:
        found.append(
            f"{len(mine)} runs were compared on the test split: the best of them is lucky as well as good. Choose on"
            " task.split=calibration, and confirm the choice once with study.confirm."
        )
    fitted = [run for run in mine if run.point.split in run.point.fitted_on]
    if fitted:
        found.append(
            f"{len(fitted)} run{'s use' if len(fitted) > 1 else ' uses'} a trust map that was fitted on questions of"
            f" the same split ({group.split}), which flatters."
        )
    return found


def _general(runs: list[Result], groups: list[Group], asked: Asked) -> list[str]:
    """What a reader must know of the front as a whole, one sentence each."""
    found = []
    if asked.pooled:
        for what, values in (
            ("tasks", {r.point.task for r in runs}),
            ("backbones", {(r.point.backbone, r.point.model) for r in runs}),
            ("sets of questions", {r.point.questions for r in runs}),
        ):
            if len(values) > 1:
                found.append(f"Pooled: these runs used {len(values)} different {what}.")
    elif len(groups) > 1:
        found.append(
            f"{len(groups)} groups of runs differ in questions, task or backbone: each has its own front, none is"
            " compared."
        )
    found += _plan(asked.plan)
    if asked.x == "nfe" and any(r.measured.aux_forwards > 0 for r in runs):
        found.append("NFE leaves out auxiliary forwards (a self-draft's): x=full_forward_equivalents counts them.")
    if asked.x == "nfe" and any(
        {"nfe", "rows"} <= r.measured.x.keys() and r.measured.x["rows"].sum() > r.measured.x["nfe"].sum() for r in runs
    ):
        found.append("NFE counts a forward of several candidates of a question as one: x=rows counts each of them.")
    if asked.x in ("nfe", "token_forwards") and any(
        "guide_forwards" in r.measured.x and r.measured.x["guide_forwards"].any() for r in runs
    ):
        other = {"nfe": "NFE leaves", "token_forwards": "Token-forwards leave"}[asked.x]
        found.append(f"{other} out what a guide computes: x=all_{asked.x.replace('nfe', 'forwards')} counts it.")
    return found


def _caveats_of(number: int, group: Group, runs: list[Result], asked: Asked) -> list[str]:
    """What a reader must know of one group."""
    mine = [run for run in runs if run.group == number]
    found = [*_on_test(group, mine), *_seconds(mine)]
    others = [run for run in mine if not run.is_candidate]
    if others and not group.baseline_runs:
        found.append(_no_baseline(group, others, asked))
    far = [run for run in mine if run.saved and run.saved.far and not run.point.oracle]
    if far:
        low, high = max((run.saved.chord for run in far), key=lambda chord: chord[1] / chord[0])
        found.append(
            f"{len(far)} saving{'s are' if len(far) > 1 else ' is'} read off a chord between baseline runs far"
            f" apart ({low:.2f} and {high:.2f}): a setting between them may take it away. Measure one, or see"
            " what leaving one out does."
        )
    if others and len(group.baseline_front) == 1:
        found.append(_single_point(group, mine, asked))
    return found


def _no_baseline(group: Group, others: list[Result], asked: Asked) -> str:
    which = f"these {group.n} {group.task} questions"
    sentence = f"No run on {which} matches the baseline {asked.selector}: no saving can be said."
    point = next((run.point for run in others if not run.point.oracle), others[0].point)
    command = None if asked.pooled else adding(point, asked.selector)
    return f"{sentence} This adds it: {command}" if command else sentence


def _single_point(group: Group, mine: list[Result], asked: Asked) -> str:
    """Of a hull with one corner: because one setting was run, or because one beats all others."""
    own = [run for run in mine if run.point.run_id in group.baseline_runs]
    sentence = "The baseline's front is a single point"
    if len(own) > 1:
        return (
            f"One of the baseline's {len(own)} runs is both the cheapest and the most accurate, so its front is a"
            " single point: savings at another accuracy are bounds."
        )
    if len(group.baseline_candidates) > 1:
        return f"{sentence} ({group.baseline_choice}): savings at another accuracy are bounds."
    if own[0].point.curve is None:
        return f"{sentence}: savings at another accuracy are bounds."
    command = None if asked.pooled or own[0].point.curve != "unmask.tau" else adding(own[0].point, asked.selector)
    more = f": {command}" if command else "."
    return f"{sentence}: vary its threshold ({own[0].point.curve}) for savings at equal accuracy{more}"
