"""A set of (x, accuracy) points in one number, and which of them are not dominated. Lower x and higher accuracy are
better."""

from __future__ import annotations

import math

import numpy as np

AUP_ALPHA = 3.0
AUP_DROP = 0.05  # accuracy, as a share
_ROWS = 1024  # resamples looked at together


def non_dominated(x: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Which points no other one dominates, that is: is at least as good on both axes and better on one. Equal points
    stay together.

    Args:
        x, accuracy: [n]
    Returns:
        [n] bool
    """
    keep = np.zeros(len(x), dtype=bool)
    last = (math.inf, -math.inf)
    for i in np.lexsort((-accuracy, x)):
        if accuracy[i] > last[1] or (x[i], accuracy[i]) == last:
            keep[i], last = True, (x[i], accuracy[i])
    return keep


def undominated_shares(x: np.ndarray, accuracy: np.ndarray, ranked: np.ndarray) -> np.ndarray:
    """In what share of resamples each run is not dominated by another ranked one.

    Args:
        x, accuracy: [B, k] resampled means. ranked: [k] bool, the runs that count.
    Returns:
        [k], 0 for the others.
    """
    shares = np.zeros(len(ranked))
    some = np.flatnonzero(ranked)
    for row in range(0, len(x) if len(some) else 0, _ROWS):
        cost, right = x[row : row + _ROWS][:, some], accuracy[row : row + _ROWS][:, some]
        order = np.lexsort((-right, cost), axis=1)
        cost, right = np.take_along_axis(cost, order, 1), np.take_along_axis(right, order, 1)
        best = np.maximum.accumulate(right, axis=1)
        keep = np.ones_like(right, dtype=bool)
        keep[:, 1:] = right[:, 1:] > best[:, :-1]
        for i in range(1, keep.shape[1]):  # an equal of one that is kept is kept
            keep[:, i] |= keep[:, i - 1] & (cost[:, i] == cost[:, i - 1]) & (right[:, i] == right[:, i - 1])
        shares[some] += np.bincount(order[keep], minlength=len(some))
    return shares / max(len(x), 1)


def hypervolume(x: np.ndarray, accuracy: np.ndarray, reference_x: float) -> float:
    """The share of the rectangle from (0, 1) to the reference point (reference_x, 0) that the points dominate, in [0,
    1].

    Points at or beyond reference_x contribute nothing. Source: E. Zitzler and L. Thiele, PPSN V (1998), in two
    dimensions.
    """
    order = np.lexsort((-accuracy, x))
    area, reached = 0.0, 0.0
    for i in order:
        if x[i] < reference_x and accuracy[i] > reached:
            area += (accuracy[i] - reached) * (reference_x - x[i])
            reached = accuracy[i]
    return float(area / reference_x) if reference_x > 0 else 0.0


def hypervolumes(x: np.ndarray, accuracy: np.ndarray, reference_x: float) -> np.ndarray:
    """The same for every row: x, accuracy [B, k] -> [B]."""
    order = np.argsort(x, axis=1, kind="stable")
    x, accuracy = np.take_along_axis(x, order, 1), np.take_along_axis(accuracy, order, 1)
    within = np.where(x < reference_x, accuracy, 0.0)
    reached = np.maximum.accumulate(within, axis=1)
    steps = np.diff(reached, axis=1, prepend=0.0)
    return (steps * (reference_x - x)).sum(axis=1) / reference_x if reference_x > 0 else np.zeros(len(x))


def aup(tokens: np.ndarray, x: np.ndarray, accuracy: np.ndarray, best: np.ndarray | float) -> np.ndarray:
    """Accuracy under parallelism: AUP = ρ₁y₁ + ½ Σᵢ₌₂ (ρᵢ − ρᵢ₋₁)(yᵢW(yᵢ) + yᵢ₋₁W(yᵢ₋₁)), W(y) = min(exp(−α(1 −
    y/y_max)), 1), α = 3.

    Of one method: runs that differ alone in where they stand on its curve, in order of parallelism; y is in percent.

    Args:
        tokens, x: [..., n] response tokens and cost of a question; ρ = tokens / x is tokens per forward (per unit of x,
            where that is another), x > 0. accuracy: [..., n] shares.
        best: [...] y_max as a share, the highest accuracy among everything that is compared.
    Returns:
        [...] the weighted areas.

    Source: Y.-Y. Qian et al., "d3LLM: Ultra-Fast Diffusion LLM using Pseudo-Trajectory Distillation" (ICML 2026), and
    its leaderboard's code (github.com/hao-ai-lab/d3LLM, AUP_leaderboard), which has α = 3 and the five points of
    `aup_refused`.
    Where this departs: ρ counts the tokens before the first end token, so padding is no parallelism; ρ₁ is the least
    parallel run that was measured, not one token per forward by convention; y_max is over the runs at hand, so values
    from different studies do not compare.
    """
    rho, y = tokens / x, 100 * accuracy
    order = np.argsort(rho, axis=-1, kind="stable")
    rho, y = np.take_along_axis(rho, order, -1), np.take_along_axis(y, order, -1)
    most = np.maximum(100 * np.asarray(best, dtype=float), 1e-300)[..., None]
    weighted = y * np.minimum(np.exp(-AUP_ALPHA * (1 - y / most)), 1.0)
    return rho[..., 0] * y[..., 0] + 0.5 * (np.diff(rho, axis=-1) * (weighted[..., 1:] + weighted[..., :-1])).sum(
        axis=-1
    )


def aup_refused(tokens: np.ndarray, x: np.ndarray, accuracy: np.ndarray) -> str | None:
    """Why these runs of one method have no AUP; None where they have. tokens, x, accuracy: [n].

    Its definition asks that no run be more than five points less accurate than the least parallel one. Leaving such
    runs out without a word lets a method drop what does not suit it, so nothing is left out here: whoever compares says
    which settings are compared.
    """
    if (x <= 0).any():
        return "a run without any forward has no parallelism"
    rho = tokens / x
    first = accuracy[np.lexsort((-accuracy, rho))[0]]
    least = float(accuracy.min())
    if least < first - AUP_DROP - 1e-9:
        lost, most = 100 * (first - least), 100 * AUP_DROP
        return (
            f"a run is {lost:.1f} points less accurate than the least parallel one, and AUP is defined up to {most:g}"
        )
    return None
