"""Runs that differ in the seed alone are one point: the mean over their seeds, question by question.

Draws are keyed by (seed, question, purpose, forward), so those of different questions are independent, and an interval
over questions covers the luck of one seed. What more seeds add is that the luck is averaged: the point's intervals are
those of a bootstrap that draws questions and seeds (A. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1
(2007)), which is a little too wide rather than too narrow. What is not a number per question (calibration, survival,
the decodes that a report shows) is the first seed's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from warmexp.analysis.measured import Measured
from warmexp.analysis.points import FILTERS
from warmexp.analysis.resample import percentile_interval, replicate_means, seed_weights


def merged(measured: Sequence[Measured]) -> list[Measured]:
    """Runs of one method on the same questions together, by rising seed; the points in the order in which they come."""
    families: dict[tuple, list[Measured]] = defaultdict(list)
    for one in measured:
        settings = tuple((key, str(value)) for key, value in one.point.settings if key != "seed")
        families[one.point.questions, one.ids, one.point.model, settings].append(one)
    return [members[0] if len(members) == 1 else _one(sorted(members, key=_seed)) for members in families.values()]


def _seed(one: Measured) -> int:
    return int(dict(one.point.settings).get("seed") or 0)


def _one(members: list[Measured]) -> Measured:
    first, points = members[0], [one.point for one in members]
    seeds = tuple(map(_seed, members))
    axes = [name for name in first.x if all(name in one.x for one in members)]
    x = {name: np.mean([one.x[name] for one in members], axis=0) for name in axes}
    known = [name for name in FILTERS if all(name in one.correct for one in members)]
    correct = {name: np.mean([one.correct[name] for one in members], axis=0) for name in known}
    stars = {name: star_of(members, [one.correct[name] for one in members]) for name in correct}
    intervals = {name: percentile_interval(values) for name, values in stars.items()}
    proposals = [point.proposal_accuracy for point in points if point.proposal_accuracy is not None]
    point = replace(
        first.point,
        label=f"{_without_seed(first.point.label)}, {len(seeds)} seeds",
        nfe=float(np.mean([point.nfe for point in points])),
        nfe_ci95=percentile_interval(star_of(members, [one.x["nfe"] for one in members])),
        accuracy_strict=float(np.mean([point.accuracy_strict for point in points])),
        accuracy_strict_ci95=intervals.get("strict", first.point.accuracy_strict_ci95),
        accuracy_flexible=float(np.mean([point.accuracy_flexible for point in points])),
        accuracy_flexible_ci95=intervals.get("flexible", first.point.accuracy_flexible_ci95),
        proposal_accuracy=float(np.mean(proposals)) if proposals else None,
        seconds=float(np.mean([point.seconds for point in points])),
        settings=tuple((key, value) for key, value in first.point.settings if key != "seed"),
        seeds=seeds,
    )
    tokens = None if any(one.tokens is None for one in members) else np.mean([one.tokens for one in members], axis=0)
    aux = float(np.mean([one.aux_forwards for one in members]))
    return replace(first, point=point, x=x, correct=correct, tokens=tokens, aux_forwards=aux, members=tuple(members))


def _without_seed(label: str) -> str:
    """A label without the seed that told a run from its sisters."""
    name, bracket, apart = label.rstrip(")").partition(" (")
    kept = [word for word in apart.split(", ") if not word.startswith("seed=")]
    return label if not bracket else f"{name} ({', '.join(kept)})" if kept else name


def star_of(members: Sequence[Measured], values: Sequence[np.ndarray]) -> np.ndarray:
    """[B] means over resampled questions, the same ones for all runs on them, and over resampled seeds. values: [n] of
    each seed."""
    name = members[0].point.questions
    means = replicate_means(np.stack(values, axis=1).astype(np.float64), name)
    return (means * seed_weights(f"{name} {members[0].point.run_id}", *means.shape)).sum(axis=1)
