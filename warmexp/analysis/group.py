"""Runs that may be compared, as arrays: who is not dominated, what each saves, how each stands beside its baseline
run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from warmexp.analysis.chosen import Choice
from warmexp.analysis.compare import compare, partner
from warmexp.analysis.family import adjusted
from warmexp.analysis.indicators import aup, aup_refused, hypervolume, hypervolumes, non_dominated, undominated_shares
from warmexp.analysis.measured import Measured
from warmexp.analysis.methods import against_others, gathered, summaries
from warmexp.analysis.points import DEFAULT_UNMASK, telling
from warmexp.analysis.proposals import by_proposal
from warmexp.analysis.resample import percentile_interval, replicate_means
from warmexp.analysis.result import Curve, Group, Result
from warmexp.analysis.saving import Saved, hull, savings
from warmexp.analysis.seeds import star_of

REFERENCE = 1.1  # the reference point's x, in units of the largest x


@dataclass(frozen=True)
class Together:
    """k comparable runs. cost, accuracy: [k]. ranked: [k] bool, all but oracles and autoregressive rows. on_front,
    is_baseline, is_candidate: [k] bool. choice: which of the candidates are the baseline.

    cost_star, accuracy_star: [B, k] resampled means; runs on the same questions share the draws. covariance: [2, 2, k,
    k] of the means, cost and accuracy; runs on different questions have none in common.
    """

    runs: list[Measured]
    x: str
    cost: np.ndarray
    accuracy: np.ndarray
    ranked: np.ndarray
    on_front: np.ndarray
    is_baseline: np.ndarray
    is_candidate: np.ndarray
    choice: Choice
    cost_star: np.ndarray
    accuracy_star: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, runs: list[Measured], x: str, choice: Choice) -> Together:
        cost = np.array([m.x[x].mean() for m in runs])
        accuracy = np.array([m.right.mean() for m in runs])
        ranked = np.array([m.point.ranked for m in runs])
        on_front = np.zeros(len(runs), dtype=bool)
        on_front[ranked] = non_dominated(cost[ranked], accuracy[ranked])
        is_baseline, is_candidate = (
            np.array([m.point.run_id in ids for m in runs]) for ids in (choice.chosen, choice.candidates)
        )
        return cls(runs, x, cost, accuracy, ranked, on_front, is_baseline, is_candidate, choice, *_sampling(runs, x))

    @property
    def n(self) -> np.ndarray:
        """[k] questions of each run."""
        return np.array([len(one.ids) for one in self.runs])

    @cached_property
    def methods(self) -> dict[tuple, list[int]]:
        """What was chosen -> the ranked runs of it."""
        return gathered([one.point for one in self.runs], self.ranked)

    @cached_property
    def against_others(self) -> dict[int, Saved]:
        """Ranked run -> what it saves against the joint front of all other methods."""
        return against_others(self.methods, self.cost, self.accuracy, self.covariance, self.n)


def _sampling(runs: list[Measured], x: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """cost_star, accuracy_star and covariance: the two ways in which the means vary with the questions."""
    same: dict[tuple, list[int]] = {}
    for i, one in enumerate(runs):
        same.setdefault((one.point.questions, one.ids), []).append(i)
    stars, covariance = {}, np.zeros((2, 2, len(runs), len(runs)))
    for (questions, ids), members in same.items():
        values = np.stack([*(runs[i].x[x] for i in members), *(runs[i].right for i in members)], axis=1).astype(
            np.float64
        )
        cost, accuracy = np.split(replicate_means(values, questions), 2, axis=1)
        stars |= {i: (cost[:, column], accuracy[:, column]) for column, i in enumerate(members)}
        centred, k = values - values.mean(axis=0), len(members)
        own = (centred.T @ centred / max(len(ids) - 1, 1) / len(ids)).reshape(2, k, 2, k)
        covariance[np.ix_((0, 1), (0, 1), members, members)] = own.transpose(0, 2, 1, 3)
    for i, one in enumerate(runs):
        if one.members:
            values = [member.x[x] for member in one.members], [member.right for member in one.members]
            stars[i] = tuple(star_of(one.members, some) for some in values)
            for q, star in enumerate(stars[i]):  # what the seeds have in common on all questions
                covariance[q, q, i, i] = max(covariance[q, q, i, i], float(star.var()))
    cost, accuracy = zip(*(stars[i] for i in range(len(runs))), strict=True)
    return np.stack(cost, axis=1), np.stack(accuracy, axis=1), covariance


def results(together: Together, number: int, margin: float) -> list[Result]:
    """Every run's row. number: of the group."""
    base = np.flatnonzero(together.is_baseline).tolist()
    saved: list[Saved | None] = [None] * len(together.runs)
    if base:
        saved = savings(together.cost, together.accuracy, together.covariance, together.n, base)
    steady = undominated_shares(together.cost_star, together.accuracy_star, together.ranked)
    found = [_result(together, i, number, base, saved[i], float(steady[i]), margin) for i in range(len(together.runs))]
    place = {one.point.run_id: i for i, one in enumerate(together.runs)}
    family = [
        i for i, one in enumerate(found) if together.ranked[i] and one.paired and one.paired.n == len(one.measured.ids)
    ]
    others = [place[found[i].paired.baseline] for i in family]
    cost, accuracy = (star[:, family] - star[:, others] for star in (together.cost_star, together.accuracy_star))
    for i, pair in zip(family, adjusted([found[i].paired for i in family], cost, accuracy), strict=True):
        found[i] = replace(found[i], paired=pair)
    return found


def _result(
    together: Together, i: int, number: int, base: list[int], saved: Saved | None, steady: float, margin: float
) -> Result:
    one = together.runs[i]
    candidates = np.flatnonzero(together.is_candidate).tolist()
    reason = None
    if not base:
        reason = "no run here matches the baseline"
    elif i in candidates:
        reason = "this run is part of the baseline" + ("" if i in base else ", and was not chosen")
    paired, unpaired, other = None, reason, None
    if reason is None:
        j = partner(i, together.runs, candidates)
        star = together.cost_star[:, i] - together.cost_star[:, j]
        paired, unpaired = compare(one, together.runs[j], together.x, star, margin)
        other = together.runs[j].shown.right if together.runs[j].ids == one.ids else None
    return Result(
        measured=one,
        group=number,
        x=float(together.cost[i]),
        # The summary's own interval where it has one, so that two files never differ in the last digit.
        x_ci95=one.point.nfe_ci95 if together.x == "nfe" else percentile_interval(together.cost_star[:, i]),
        x_median=float(np.median(one.x[together.x])),
        x_p95=float(np.quantile(one.x[together.x], 0.95, method="inverted_cdf")),
        on_front=bool(together.on_front[i]),
        undominated_share=steady if together.ranked[i] else None,
        is_baseline=bool(together.is_baseline[i]),
        is_candidate=bool(together.is_candidate[i]),
        saved=saved if reason is None else None,
        saved_reason=reason,
        against_others=together.against_others.get(i),
        paired=paired,
        paired_reason=unpaired,
        by_proposal=_by_proposal(one.shown, other),
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
    volumes = {name: _volume(together, mask, reference) for name, mask in (("front", ranked), ("baseline", base))}
    return Group(
        backbone=", ".join(sorted({m.point.backbone for m in runs})),
        task=", ".join(sorted({m.point.task for m in runs})),
        questions=tuple(dict.fromkeys(m.point.questions for m in runs)),
        n=len({(m.point.task, i) for m in runs for i in m.ids}),
        front=tuple(sorted(zip(cost[front].tolist(), accuracy[front].tolist(), strict=True))),
        split=", ".join(sorted({m.point.split or "not named" for m in runs})),
        baseline_choice=together.choice.said,
        baseline_candidates=tuple(runs[i].point.run_id for i in np.flatnonzero(together.is_candidate)),
        baseline_runs=tuple(runs[i].point.run_id for i in np.flatnonzero(base)),
        baseline_front=tuple((float(x), float(y)) for x, y in zip(*corners, strict=True)),
        reference_x=reference,
        hypervolume=volumes["front"][0],
        hypervolume_ci95=volumes["front"][1],
        baseline_hypervolume=volumes["baseline"][0] if base.any() else None,
        baseline_hypervolume_ci95=volumes["baseline"][1] if base.any() else None,
        curves=_curves(together, reference, best),
        methods=summaries([m.point for m in runs], together.methods, together.against_others, cost, front),
    )


def _volume(together: Together, mask: np.ndarray, reference: float) -> tuple[float, tuple[float, float]]:
    """Hypervolume of some of the runs, and its interval: the front is found anew in every resample."""
    stars = hypervolumes(together.cost_star[:, mask], together.accuracy_star[:, mask], reference)
    return hypervolume(together.cost[mask], together.accuracy[mask], reference), percentile_interval(stars)


def _parallelism(together: Together, members: list[int], best: float) -> dict[str, Any]:
    """AUP of one method with its interval, or why it has none."""
    runs, some = [together.runs[i] for i in members], np.array(members)
    if any(one.tokens is None for one in runs):
        return {"aup": None, "aup_ci95": None, "aup_reason": "the records do not count tokens"}
    tokens = np.array([one.tokens.mean() for one in runs])
    reason = aup_refused(tokens, together.cost[some], together.accuracy[some])
    if reason is not None:
        return {"aup": None, "aup_ci95": None, "aup_reason": reason}
    tokens_star = np.stack([_star(one) for one in runs], axis=1)
    best_star = together.accuracy_star[:, together.ranked].max(axis=1)
    stars = aup(tokens_star, together.cost_star[:, some], together.accuracy_star[:, some], best_star)
    return {
        "aup": float(aup(tokens, together.cost[some], together.accuracy[some], best)),
        "aup_ci95": percentile_interval(stars),
        "aup_reason": None,
    }


def _star(one: Measured) -> np.ndarray:
    """[B] mean response tokens; the draws are those of the run's cost and accuracy."""
    return replicate_means(one.tokens[:, None], one.point.questions)[:, 0]


def _curves(together: Together, reference: float, best: float) -> tuple[Curve, ...]:
    """Runs that differ alone in where they stand on their unmasking policy's curve, together."""
    families: dict[tuple, list[int]] = {}
    for i in np.flatnonzero(together.ranked):
        point = together.runs[i].point
        settings = tuple((key, value) for key, value in point.settings if key != point.curve)
        families.setdefault((point.questions, settings), []).append(int(i))
    curves = []
    for label, members in zip(_names(together, families), families.values(), strict=True):
        mask = np.isin(np.arange(len(together.runs)), members)
        volume, interval = _volume(together, mask, reference)
        ordered = sorted(members, key=lambda i: together.cost[i])
        ids = tuple(together.runs[i].point.run_id for i in ordered)
        parallelism = _parallelism(together, ordered, best)
        own = bool(together.is_baseline[members].all())
        curves.append(Curve(label, ids, volume, interval, **parallelism, is_baseline=own))
    return tuple(curves)


def _names(together: Together, families: Mapping[tuple, Sequence[int]]) -> list[str]:
    """What each of the curves is called; no two alike: what shares a name has behind it in what it differs."""
    names = []
    for members in families.values():
        point = together.runs[members[0]].point
        policy = "" if point.unmask == DEFAULT_UNMASK else point.unmask
        source = "" if point.proposer == "none" else f"from {point.proposer}"
        names.append(" ".join(filter(None, (point.variant, policy, source))))
    settings = [dict(kept) for _, kept in families]
    made = []
    for name, mine in zip(names, settings, strict=True):
        keys = telling([other for other_name, other in zip(names, settings, strict=True) if other_name == name])
        extra = ", ".join(f"{key.rpartition('.')[2]}={mine.get(key, '-')}" for key in keys)
        made.append(f"{name} ({extra})" if extra else name)
    return made
