"""Runs that may be compared, as arrays: who is not dominated, what each saves, how each stands beside its baseline run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from warmexp.analysis.baseline import Saved, hull, savings
from warmexp.analysis.compare import compare, partner
from warmexp.analysis.indicators import aup, hypervolume, non_dominated
from warmexp.analysis.measured import Measured
from warmexp.analysis.proposals import by_proposal
from warmexp.analysis.resample import percentile_interval, replicate_means
from warmexp.analysis.result import Curve, Group, Result

REFERENCE = 1.1  # the reference point's x, in units of the largest x


@dataclass(frozen=True)
class Together:
    """k comparable runs. cost, accuracy: [k]. ranked: [k] bool, all but oracles. on_front, is_baseline: [k] bool.

    cost_star, accuracy_star: [B, k] resampled means; runs on the same questions share the draws.
    """

    runs: list[Measured]
    x: str
    cost: np.ndarray
    accuracy: np.ndarray
    ranked: np.ndarray
    on_front: np.ndarray
    is_baseline: np.ndarray
    cost_star: np.ndarray
    accuracy_star: np.ndarray

    @classmethod
    def of(cls, runs: list[Measured], x: str, baseline: set[str]) -> Together:
        """baseline: run ids."""
        cost = np.array([m.x[x].mean() for m in runs])
        accuracy = np.array([m.right.mean() for m in runs])
        ranked = np.array([not m.point.oracle for m in runs])
        on_front = np.zeros(len(runs), dtype=bool)
        on_front[ranked] = non_dominated(cost[ranked], accuracy[ranked])
        is_baseline = np.array([m.point.run_id in baseline for m in runs])
        return cls(runs, x, cost, accuracy, ranked, on_front, is_baseline, *_replicates(runs, x))


def _replicates(runs: list[Measured], x: str) -> tuple[np.ndarray, np.ndarray]:
    same: dict[tuple, list[int]] = {}
    for i, one in enumerate(runs):
        same.setdefault((one.point.questions, one.ids), []).append(i)
    blocks = {}
    for (questions, _), members in same.items():
        values = np.stack([*(runs[i].x[x] for i in members), *(runs[i].right for i in members)], axis=1)
        cost, accuracy = np.split(replicate_means(values, questions), 2, axis=1)
        blocks |= {i: (cost[:, column], accuracy[:, column]) for column, i in enumerate(members)}
    cost, accuracy = zip(*(blocks[i] for i in range(len(runs))), strict=True)
    return np.stack(cost, axis=1), np.stack(accuracy, axis=1)


def results(together: Together, number: int, margin: float) -> list[Result]:
    """Every run's row. number: of the group."""
    base = np.flatnonzero(together.is_baseline).tolist()
    saved: list[Saved | None] = [None] * len(together.runs)
    if base:
        saved = savings(together.cost, together.accuracy, base, together.cost_star, together.accuracy_star)
    return [_result(together, i, number, base, saved[i], margin) for i in range(len(together.runs))]


def _result(together: Together, i: int, number: int, base: list[int], saved: Saved | None, margin: float) -> Result:
    one = together.runs[i]
    reason = "no run here matches the baseline" if not base else "this run is part of the baseline" if i in base else None
    paired, unpaired, other = None, reason, None
    if reason is None:
        j = partner(i, together.runs, base)
        star = together.cost_star[:, i] - together.cost_star[:, j]
        paired, unpaired = compare(one, together.runs[j], together.x, star, margin)
        other = together.runs[j].right if together.runs[j].ids == one.ids else None
    return Result(
        measured=one,
        group=number,
        x=float(together.cost[i]),
        # The summary's own interval where it has one, so that two files never differ in the last digit.
        x_ci95=one.point.nfe_ci95 if together.x == "nfe" else percentile_interval(together.cost_star[:, i]),
        on_front=bool(together.on_front[i]),
        is_baseline=bool(together.is_baseline[i]),
        saved=saved if reason is None else None,
        saved_reason=reason,
        paired=paired,
        paired_reason=unpaired,
        by_proposal=_by_proposal(one, other),
    )


def _by_proposal(one: Measured, baseline_right: np.ndarray | None) -> dict[str, Any] | None:
    proposal_right = one.proposal_right.get(one.point.accuracy_filter)
    return None if proposal_right is None else by_proposal(one.right, proposal_right, baseline_right, one.injected)


def numbers(together: Together, reference: float | None = None) -> Group:
    """The group's own numbers. reference: x of the reference point."""
    runs, cost, accuracy, ranked = together.runs, together.cost, together.accuracy, together.ranked
    counted = ranked if ranked.any() else ~ranked
    reference, best = reference or REFERENCE * float(cost[counted].max()), float(accuracy[counted].max())
    base, front = together.is_baseline, together.on_front
    corners = hull(cost[base], accuracy[base]) if base.any() else ((), ())
    areas = {name: _areas(together, mask, reference, best) for name, mask in (("front", front), ("baseline", base))}
    return Group(
        backbone=", ".join(sorted({m.point.backbone for m in runs})),
        task=", ".join(sorted({m.point.task for m in runs})),
        questions=tuple(dict.fromkeys(m.point.questions for m in runs)),
        n=len({(m.point.task, i) for m in runs for i in m.ids}),
        front=tuple(sorted(zip(cost[front].tolist(), accuracy[front].tolist(), strict=True))),
        baseline_runs=tuple(runs[i].point.run_id for i in np.flatnonzero(base)),
        baseline_front=tuple((float(x), float(y)) for x, y in zip(*corners, strict=True)),
        reference_x=reference,
        hypervolume=areas["front"][0],
        aup=areas["front"][1],
        baseline_hypervolume=areas["baseline"][0] if base.any() else None,
        baseline_aup=areas["baseline"][1],
        curves=_curves(together, reference, best),
    )


def _areas(together: Together, mask: np.ndarray, reference: float, best: float) -> tuple[float, float | None]:
    """Hypervolume and AUP of some of the runs."""
    cost, accuracy = together.cost[mask], together.accuracy[mask]
    tokens = [m.tokens for m, chosen in zip(together.runs, mask, strict=True) if chosen]
    area = None if any(t is None for t in tokens) else aup(np.array([t.mean() for t in tokens]), cost, accuracy, best)
    return hypervolume(cost, accuracy, reference), area


def _curves(together: Together, reference: float, best: float) -> tuple[Curve, ...]:
    """Runs that differ alone in where they stand on their unmasking policy's curve, together."""
    families: dict[tuple, list[int]] = {}
    for i in np.flatnonzero(together.ranked):
        point = together.runs[i].point
        settings = tuple((key, value) for key, value in point.settings if key != point.curve)
        families.setdefault((point.questions, settings), []).append(int(i))
    curves = []
    for members in families.values():
        mask = np.isin(np.arange(len(together.runs)), members)
        ordered = sorted(members, key=lambda i: together.cost[i])
        point = together.runs[ordered[0]].point
        label = point.variant + ("" if point.proposer == "none" else f" from {point.proposer}")
        ids = tuple(together.runs[i].point.run_id for i in ordered)
        curves.append(Curve(label, ids, *_areas(together, mask, reference, best), bool(together.is_baseline[members].all())))
    return tuple(curves)
