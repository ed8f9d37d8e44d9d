"""Fronts and what is computed from them: against definitions, rectangles and hand-made numbers."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmexp.analysis.baseline import hull, savings
from warmexp.analysis.indicators import aup, hypervolume, non_dominated
from warmexp.analysis.resample import replicate_means

grid = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=14)


@given(grid)
def test_not_dominated_by_its_definition(points):
    x, y = np.array(points, float).T

    def dominated(i: int) -> bool:
        return any(x[j] <= x[i] and y[j] >= y[i] and (x[j] < x[i] or y[j] > y[i]) for j in range(len(x)))

    assert non_dominated(x, y).tolist() == [not dominated(i) for i in range(len(x))]


@given(grid)
def test_hypervolume_against_counted_cells(points):
    x, y = np.array(points, float).T
    cells = {(a, b) for px, py in points for a in range(px, 7) for b in range(py)}  # reference point (7, 0)
    assert hypervolume(x, y / 8, 7.0) == pytest.approx(len(cells) / 8 / 7)


def test_hypervolume_by_hand():
    x, y = np.array([2.0, 4.0, 6.0, 12.0]), np.array([0.5, 0.4, 0.9, 1.0])
    assert hypervolume(x, y, 10.0) == pytest.approx((0.5 * 8 + 0.4 * 4) / 10)
    assert hypervolume(np.array([]), np.array([]), 10.0) == 0.0 and hypervolume(np.zeros(1), np.ones(1), 0.0) == 0.0


def test_aup_by_hand():
    """D2F-LLaDA and Fast-dLLM-LLaDA on GSM8K-CoT, tokens per forward and accuracy as printed on d3LLM's leaderboard."""
    assert aup(np.array([1.0]), np.array([1.0]), np.array([0.741]), best=0.7498) == pytest.approx(74.1)
    weight = math.exp(-3 * (1 - 74.39 / 74.98))
    by_hand = 1 * 74.98 + 0.5 * 1.88 * (74.39 * weight + 74.98)
    assert aup(np.array([2.88, 1.0]), np.ones(2), np.array([0.7439, 0.7498]), best=0.7498) == pytest.approx(by_hand)
    # More than five points below the least parallel run: left out; exactly five points: not. Cost on another axis scales ρ alone.
    some = aup(np.array([10.0, 30.0]), np.array([5.0, 6.0]), np.array([0.8, 0.75]), best=0.8)
    weight = math.exp(-3 * (1 - 75 / 80))
    assert some == pytest.approx(2 * 80 + 0.5 * 3 * (75 * weight + 80))
    assert aup(np.array([10.0, 30.0]), np.array([5.0, 6.0]), np.array([0.8, 0.749]), best=0.8) == pytest.approx(160)
    assert aup(np.array([10.0]), np.array([0.0]), np.array([0.8]), best=0.8) is None


@given(grid)
def test_the_hull_is_the_least_cost_of_any_mixture(points):
    """At every accuracy, no mixture of two runs that reaches it is cheaper than the hull, and one costs the same."""
    x, y = np.array(points, float).T
    hx, ha = hull(x, y)
    assert (np.diff(hx) > 0).all() and (np.diff(ha) > 0).all()
    for wanted in np.linspace(ha[0], ha[-1], 7):
        costs = [a for a, b in points if b >= wanted]
        costs += [
            a1 + (a2 - a1) * (wanted - b1) / (b2 - b1)
            for (a1, b1), (a2, b2) in ((min(p, q, key=lambda t: t[1]), max(p, q, key=lambda t: t[1])) for p, q in combinations(points, 2))
            if b1 < wanted <= b2
        ]
        assert np.interp(wanted, ha, hx) == pytest.approx(min(costs))


def exact(x: list[float], accuracy: list[float], base: list[int]):
    """Savings without resampling noise."""
    x, accuracy = np.array(x), np.array(accuracy)
    return savings(x, accuracy, base, np.tile(x, (40, 1)), np.tile(accuracy, (40, 1)))


def test_savings_by_hand():
    #         baseline: 4 → 60 %, 6 → 80 %, 9 → 82 %, and one that is off the hull    within  above  below  dearer
    x = [4.0, 6.0, 9.0, 8.0, 3.0, 7.0, 2.0, 9.5]
    accuracy = [0.6, 0.8, 0.82, 0.8, 0.7, 0.9, 0.5, 0.81]
    within, above, below, dearer = exact(x, accuracy, [0, 1, 2, 3])[4:]
    assert (within.x_of_baseline_front_at_equal_accuracy, within.saved, within.saved_share) == pytest.approx((5.0, 2.0, 0.4))
    assert within.ci95 == pytest.approx((2.0, 2.0)) and within.bound is None
    assert (above.saved, above.bound, above.ci95) == (pytest.approx(2.0), "at_least", (pytest.approx(2.0), None))
    assert (below.saved, below.bound, below.ci95) == (pytest.approx(2.0), "at_most", (None, pytest.approx(2.0)))
    assert dearer.saved == pytest.approx(-2.0) and dearer.share_ci95 == pytest.approx((-2 / 7.5, -2 / 7.5))
    alone = exact([4.0, 3.0, 3.0], [0.6, 0.6, 0.7], [0])
    assert (alone[1].saved, alone[1].bound) == (1.0, None) and (alone[2].saved, alone[2].bound) == (1.0, "at_least")
    assert exact([0.0, 1.0], [0.5, 0.5], [0])[1].saved_share is None


def test_savings_intervals_cover_the_truth():
    """A population whose baseline front is known: 95 % intervals of the saving hold it about as often as they say."""
    rng = np.random.default_rng(7)
    accuracies, costs = np.array([0.70, 0.80, 0.86, 0.88, 0.82]), np.array([4.0, 5.5, 8.0, 12.0, 5.0])
    true = np.interp(0.82, accuracies[:4], costs[:4]) - costs[4]
    covered, n, repeats = 0, 200, 120
    for repeat in range(repeats):
        shared, own, difficulty = rng.random((n, 1)), rng.random((n, 5)), rng.random((n, 1))
        right = np.where(rng.random((n, 5)) < 0.85, shared, own) < accuracies  # the same questions are mostly the hard ones
        spent = rng.poisson(costs * (0.5 + difficulty))
        stars = replicate_means(np.hstack([spent, right]), f"population {repeat}", resamples=399)
        low, high = savings(spent.mean(axis=0), right.mean(axis=0), [0, 1, 2, 3], stars[:, :5], stars[:, 5:])[4].ci95
        covered += (low is None or low <= true) and (high is None or true <= high)
    assert 0.88 <= covered / repeats <= 0.99
