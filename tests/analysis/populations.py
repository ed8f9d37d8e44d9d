"""Populations whose truth is known: questions of unequal difficulty, runs that are right on much the same ones, costs
that go along."""

from __future__ import annotations

import numpy as np


def drawn(rng: np.random.Generator, n: int, accuracies, costs, alike: float = 0.93) -> tuple[np.ndarray, np.ndarray]:
    """n questions answered by k runs: cost [n, k] and right [n, k] bool.

    alike: how often a run's luck on a question is that of all runs; the rest of the time it is its own. Two runs of one
    accuracy of 0.9 so differ on about one question in forty, as the lab's do.
    """
    accuracies, costs = np.asarray(accuracies), np.asarray(costs)
    k = len(accuracies)
    shared, own, hard = rng.random((n, 1)), rng.random((n, k)), rng.gamma(8.0, 1 / 8.0, (n, 1))
    right = np.where(rng.random((n, k)) < alike, shared, own) < accuracies
    return costs * hard * rng.gamma(30.0, 1 / 30.0, (n, k)), right


def covariance(cost: np.ndarray, right: np.ndarray) -> np.ndarray:
    """[2, 2, k, k], of the means over questions, as savings() takes it."""
    n, k = cost.shape
    both = np.cov(np.hstack([cost, right]).astype(float), rowvar=False) / n
    return both.reshape(2, k, 2, k).transpose(0, 2, 1, 3)
