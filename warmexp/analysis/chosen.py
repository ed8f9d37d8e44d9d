"""Which of the baseline's settings a group is held against: where they were measured on a calibration split too, those
chosen there.

A hull over many settings on the questions that it is reported on is the luckiest of them, which is unfair to what is
compared with it; a hull over few is not tuned, which is unfair to the baseline. So all that the selector names is
measured on the calibration split, the corners of the hull there are the settings that a user would have picked, and
these settings' runs are the baseline on the other split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from warmexp.analysis.measured import Measured
from warmexp.analysis.points import Point
from warmexp.analysis.saving import hull

TUNING = ("calibration", "train", "validation", "dev")  # splits on which settings are chosen
_OF_QUESTIONS = ("task.split", "task.limit", "task.subset_seed")


@dataclass(frozen=True)
class Choice:
    """candidates: ids of the runs that the selector names. chosen: of those that the hull is made of. said: how they
    were chosen."""

    candidates: frozenset[str]
    chosen: frozenset[str]
    said: str


def setting(point: Point) -> tuple:
    """What is the same for a method on two splits."""
    return tuple((key, str(value)) for key, value in point.settings if key not in _OF_QUESTIONS)


def choose(part: Sequence[Measured], others: Sequence[Sequence[Measured]], selected: set[str], x: str) -> Choice:
    """The baseline of one group of comparable runs.

    Args:
        part: the group. others: all groups. selected: run ids that the selector names, in any group.
    """
    mine = [one for one in part if one.point.run_id in selected]
    ids = frozenset(one.point.run_id for one in mine)
    here = "all of them, on the questions that are reported"
    if not mine or mine[0].point.split in TUNING:
        return Choice(ids, ids, here)
    first = mine[0].point
    for other in others:
        there = [one for one in other if one.point.run_id in selected and one.point.split in TUNING]
        if not there or any(
            (p.backbone, p.model, p.task) != (first.backbone, first.model, first.task) for p in (o.point for o in there)
        ):
            continue
        measured = {setting(one.point) for one in there}
        lacking = sum(setting(one.point) not in measured for one in mine)
        if lacking:
            return Choice(
                ids,
                ids,
                f"{here}, since {lacking} of {len(mine)} were not measured on the {there[0].point.split} split",
            )
        best = _corners(there, x)
        chosen = frozenset(one.point.run_id for one in mine if setting(one.point) in best)
        if chosen:
            n = len(there[0].ids)
            return Choice(
                ids,
                chosen,
                f"{len(chosen)} of {len(mine)}, the corners of the hull on {n} questions of the"
                f" {there[0].point.split} split",
            )
    return Choice(ids, ids, here)


def _corners(runs: Sequence[Measured], x: str) -> set[tuple]:
    cost, accuracy = np.array([one.x[x].mean() for one in runs]), np.array([one.right.mean() for one in runs])
    corners = set(zip(*(side.tolist() for side in hull(cost, accuracy)), strict=True))
    places = zip(cost.tolist(), accuracy.tolist(), strict=True)
    return {setting(one.point) for one, place in zip(runs, places, strict=True) if place in corners}
