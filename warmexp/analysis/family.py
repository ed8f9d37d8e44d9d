"""Many runs of one study against the baseline: what one test in twenty is worth where forty are made.

A family is the paired comparisons of a group, without oracle and autoregressive rows. Its p values are adjusted by
Holm's step-down (S. Holm, Scandinavian Journal of Statistics 6 (1979)), which holds whatever the runs have in common.
Its intervals are simultaneous: all differences of cost and of accuracy lie in theirs with 95 %, by the distribution of
the largest of the studentised differences over resampled questions (T. Hothorn, F. Bretz and P. Westfall, Biometrical
Journal 50 (2008), with the bootstrap in the place of a normal distribution).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from warmexp.analysis.compare import Paired, accuracy_limits

LEVEL = 0.95


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p values, in the order of the raw ones: at least these, at most 1, and rising with them."""
    order, adjusted, highest = np.argsort(p, kind="stable"), [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = highest
    return adjusted


def critical(deviations: np.ndarray, errors: np.ndarray, level: float = LEVEL) -> float:
    """How many standard errors make all intervals hold together with this level; never fewer than one interval alone
    needs.

    Args:
        deviations: [B, m] of m estimates from their value, in B resamples. errors: [m] standard errors; where 0 nothing
        varies.
    """
    varies = errors > 0
    alone = NormalDist().inv_cdf(0.5 + level / 2)
    if not varies.any():
        return alone
    largest = np.abs(deviations[:, varies] / errors[varies]).max(axis=1)
    return max(alone, float(np.quantile(largest, level)))


def adjusted(pairs: Sequence[Paired], cost: np.ndarray, accuracy: np.ndarray) -> list[Paired]:
    """The same comparisons as one family.

    Args:
        pairs: m. cost, accuracy: [B, m] resampled differences of each.
    """
    if not pairs:
        return []
    values = np.array([[pair.x_difference for pair in pairs], [pair.accuracy_difference for pair in pairs]]).reshape(-1)
    stars = np.concatenate([cost, accuracy], axis=1)
    errors, m = stars.std(axis=0), len(pairs)
    z = critical(stars - values, errors)
    level = 2 * NormalDist().cdf(z) - 1
    return [
        replace(
            pair,
            compared=m,
            mcnemar_p_holm=p,
            x_difference_simultaneous=(
                pair.x_difference - z * float(errors[i]),
                pair.x_difference + z * float(errors[i]),
            ),
            accuracy_difference_simultaneous=accuracy_limits(pair, float(errors[m + i]), level),
        )
        for i, (pair, p) in enumerate(zip(pairs, holm([pair.mcnemar_p for pair in pairs]), strict=True))
    ]
