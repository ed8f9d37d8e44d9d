"""A set of (x, accuracy) points in one number, and which of them are not dominated. Lower x and higher accuracy are better."""

from __future__ import annotations

import math

import numpy as np

AUP_ALPHA = 3.0
AUP_DROP = 0.05  # accuracy, as a share


def non_dominated(x: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Which points no other one dominates, that is: is at least as good on both axes and better on one. Equal points stay together.

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


def hypervolume(x: np.ndarray, accuracy: np.ndarray, reference_x: float) -> float:
    """The share of the rectangle from (0, 1) to the reference point (reference_x, 0) that the points dominate, in [0, 1].

    Points at or beyond reference_x contribute nothing. Source: E. Zitzler and L. Thiele, PPSN V (1998), in two dimensions.
    """
    order = np.lexsort((-accuracy, x))
    area, reached = 0.0, 0.0
    for i in order:
        if x[i] < reference_x and accuracy[i] > reached:
            area += (accuracy[i] - reached) * (reference_x - x[i])
            reached = accuracy[i]
    return float(area / reference_x) if reference_x > 0 else 0.0


def aup(tokens: np.ndarray, x: np.ndarray, accuracy: np.ndarray, best: float) -> float | None:
    """Accuracy under parallelism: AUP = ρ₁y₁ + ½ Σᵢ₌₂ (ρᵢ − ρᵢ₋₁)(yᵢW(yᵢ) + yᵢ₋₁W(yᵢ₋₁)), W(y) = min(exp(−α(1 − y/y_max)), 1), α = 3.

    Points in order of parallelism; those more than five points of accuracy below the least parallel one are left out; y is in percent.

    Args:
        tokens, x: [n] response tokens and cost of a question; ρ = tokens / x is tokens per forward (per unit of x, where that is another).
        accuracy: [n] shares. best: y_max as a share, the highest accuracy among everything that is compared.
    Returns:
        the weighted area; None without a point. A run without any forward (x = 0) has no parallelism and is left out.

    Source: Y.-Y. Qian et al., "d3LLM: Ultra-Fast Diffusion LLM using Pseudo-Trajectory Distillation" (ICML 2026), and its leaderboard's
    code (github.com/hao-ai-lab/d3LLM, AUP_leaderboard), which has α = 3 and the five points.
    Where this departs: ρ counts the tokens before the first end token, so padding is no parallelism; ρ₁ is the least parallel run that was
    measured, not one token per forward by convention; y_max is over the runs at hand, so values from different studies do not compare.
    """
    spent = x > 0
    if not spent.any():
        return None
    rho, y = tokens[spent] / x[spent], 100 * accuracy[spent]
    order = np.lexsort((-y, rho))
    rho, y = rho[order], y[order]
    keep = y >= y[0] - 100 * AUP_DROP - 1e-9
    rho, y = rho[keep], y[keep]
    weighted = y * (np.minimum(np.exp(-AUP_ALPHA * (1 - y / (100 * best))), 1.0) if best > 0 else 0.0)
    return float(rho[0] * y[0] + 0.5 * np.sum(np.diff(rho) * (weighted[1:] + weighted[:-1])))
