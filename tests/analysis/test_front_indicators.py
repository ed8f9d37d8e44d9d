"""Fronts and what is computed from them: against definitions, rectangles and hand-made numbers."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmexp.analysis.indicators import aup, aup_refused, hypervolume, hypervolumes, non_dominated, undominated_shares
from warmexp.analysis.saving import hull

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
    # Cost on another axis scales ρ alone.
    some = aup(np.array([10.0, 30.0]), np.array([5.0, 6.0]), np.array([0.8, 0.75]), best=0.8)
    weight = math.exp(-3 * (1 - 75 / 80))
    assert some == pytest.approx(2 * 80 + 0.5 * 3 * (75 * weight + 80))


def test_aup_leaves_nothing_out():
    """A run more than five points below the least parallel one is refused with a sentence, not dropped."""
    tokens, x = np.array([10.0, 30.0]), np.array([5.0, 6.0])
    assert aup_refused(tokens, x, np.array([0.8, 0.75])) is None
    assert "5.1 points less accurate than the least parallel" in aup_refused(tokens, x, np.array([0.8, 0.749]))
    assert "without any forward" in aup_refused(np.array([10.0]), np.array([0.0]), np.array([0.8]))


def test_indicators_of_many_resamples_at_once():
    rng = np.random.default_rng(0)
    x, y = rng.integers(1, 7, (40, 9)) / 2.0, rng.integers(0, 8, (40, 9)) / 8.0
    assert hypervolumes(x, y, 3.1) == pytest.approx([hypervolume(a, b, 3.1) for a, b in zip(x, y, strict=True)])
    tokens, best = rng.random((40, 9)) + 20, np.ones(40)
    assert aup(tokens, x, y, best) == pytest.approx([float(aup(*row, 1.0)) for row in zip(tokens, x, y, strict=True)])
    ranked = np.arange(9) != 4
    kept = np.mean([non_dominated(a[ranked], b[ranked]) for a, b in zip(x, y, strict=True)], axis=0)
    assert undominated_shares(x, y, ranked)[ranked] == pytest.approx(kept) and undominated_shares(x, y, ranked)[4] == 0


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
            for (a1, b1), (a2, b2) in (
                (min(p, q, key=lambda t: t[1]), max(p, q, key=lambda t: t[1])) for p, q in combinations(points, 2)
            )
            if b1 < wanted <= b2
        ]
        assert np.interp(wanted, ha, hx) == pytest.approx(min(costs))
