"""Savings: by hand, and in populations whose truth is known. The flat ones are those on which a percentile bootstrap of
the hull fails."""

from __future__ import annotations

import numpy as np
import pytest

from tests.analysis.populations import covariance, drawn
from warmexp.analysis.saving import Saved, hull, savings

FLAT, COSTS = [0.905, 0.907, 0.908, 0.909], [4.24, 4.74, 5.22, 6.64]


def exact(x: list[float], accuracy: list[float], base: list[int]) -> list[Saved]:
    """Savings without sampling noise."""
    k = len(x)
    return savings(np.array(x), np.array(accuracy), np.zeros((2, 2, k, k)), np.full(k, 1e12), base)


def test_savings_by_hand():
    #         baseline: 4 → 60 %, 6 → 80 %, 9 → 82 %, and one that is off the hull    within  above  below  dearer
    x = [4.0, 6.0, 9.0, 8.0, 3.0, 7.0, 2.0, 9.5]
    accuracy = [0.6, 0.8, 0.82, 0.8, 0.7, 0.9, 0.5, 0.81]
    within, above, below, dearer = exact(x, accuracy, [0, 1, 2, 3])[4:]
    assert (within.x_of_baseline_front_at_equal_accuracy, within.saved, within.saved_share) == pytest.approx(
        (5.0, 2.0, 0.4)
    )
    assert within.ci95 == pytest.approx((2.0, 2.0), abs=1e-6) and within.bound is None
    assert (above.saved, above.bound, above.ci95) == (pytest.approx(2.0), "at_least", (pytest.approx(2.0), None))
    assert (below.saved, below.bound, below.ci95) == (pytest.approx(2.0), "at_most", (None, pytest.approx(2.0)))
    assert dearer.saved == pytest.approx(-2.0) and dearer.share_ci95 == pytest.approx((-2 / 7.5, -2 / 7.5), abs=1e-6)
    alone = exact([4.0, 3.0, 3.0], [0.6, 0.6, 0.7], [0])
    assert (alone[1].saved, alone[1].bound) == (1.0, None) and (alone[2].saved, alone[2].bound) == (1.0, "at_least")
    assert exact([0.0, 1.0], [0.5, 0.5], [0])[1].saved_share is None


def test_gained_at_equal_cost_by_hand():
    x, accuracy = [4.0, 6.0, 5.0, 3.0, 7.0], [0.6, 0.8, 0.75, 0.7, 0.85]
    gains = [one.gained_at_equal_cost for one in exact(x, accuracy, [0, 1])]
    assert [g.gained for g in gains[2:]] == pytest.approx([0.05, 0.1, 0.05])
    assert [g.bound for g in gains[2:]] == [None, "at_least", "at_most"]
    assert gains[2].ci95 == pytest.approx((0.05, 0.05), abs=1e-6)
    assert gains[3].ci95 == (pytest.approx(0.1), None) and gains[4].ci95 == (None, pytest.approx(0.05, abs=1e-6))


def test_a_chord_between_sparse_settings_makes_a_saving_of_nothing_and_it_is_said():
    """A cold start at τ = 0.7, held against its own runs at 0.5 and 0.9 alone: nothing was done, and 1.5 forwards are
    saved."""
    sparse = exact([3.68, 6.64, 4.74], [0.881, 0.909, 0.905], [0, 1])[2]
    assert sparse.saved == pytest.approx(1.48, abs=0.01) and sparse.far and sparse.chord == (3.68, 6.64)
    dense = exact([3.68, 4.24, 4.74, 5.22, 6.64, 4.74], [0.881, 0.900, 0.905, 0.907, 0.909, 0.905], [0, 1, 2, 3, 4])[5]
    assert dense.saved == pytest.approx(0) and not dense.far and dense.chord is None
    # Leaving one setting out says what a missing one could do: without τ = 0.7 itself the saving comes back.
    low, high = dense.without
    assert low == pytest.approx(0) and 0.15 < high < 0.25
    assert exact([4.0, 3.0], [0.6, 0.6], [0])[1].without is None
    # A measured run between two corners that lies below their chord is a neighbour too.
    below = exact([3.68, 5.0, 6.64, 5.5], [0.881, 0.885, 0.909, 0.905], [0, 1, 2])[3]
    assert below.chord == (5.0, 6.64)


def missed(
    accuracies, costs, i: int, n: int, repeats: int, copy: int | None = None
) -> tuple[float, float, float, float]:
    """Shares of samples whose limits are above and below the true saving, the same for the gain (the worse side); the
    last is the share in which a saving is shown. Run i against the first four; copy: it is the same decode as another
    run."""
    base = [0, 1, 2, 3]
    corners = hull(np.array(costs)[base], np.array(accuracies)[base])
    saved = np.interp(accuracies[i], corners[1], corners[0]) - costs[i]
    gained = accuracies[i] - np.interp(costs[i], *corners)
    counts = np.zeros(4)
    for repeat in range(repeats):
        cost, right = drawn(np.random.default_rng([repeat, n]), n, accuracies, costs)
        if copy is not None:
            cost[:, i], right[:, i] = cost[:, copy], right[:, copy]
        one = savings(cost.mean(axis=0), right.mean(axis=0), covariance(cost, right), np.full(len(costs), n), base)[i]
        (low, high), (least, most) = one.ci95, one.gained_at_equal_cost.ci95
        counts += [
            low is not None and low > saved + 1e-9, high is not None and high < saved - 1e-9,
            (least is not None and least > gained + 1e-9) or (most is not None and most < gained - 1e-9),
            low is not None and low > 0,
        ]  # fmt: skip
    return tuple(counts / repeats)


@pytest.mark.parametrize("n", [128, 512])
def test_a_copy_of_the_cold_start_saves_nothing_and_the_interval_says_so(n):
    """On a flat hull nearly every resample takes the cheapest of the ties, so that a bootstrap's interval lies below 0
    for a copy."""
    too_high, too_low, gain, shown = missed([*FLAT, 0.909], [*COSTS, 6.64], 4, n, 60, copy=3)
    assert too_high == 0 and too_low <= 0.05 and gain <= 0.05 and shown == 0


def test_a_true_saving_is_covered_and_found():
    too_high, too_low, gain, shown = missed([*FLAT, 0.907], [*COSTS, 2.74], 4, 256, 60)
    assert too_high <= 0.05 and too_low <= 0.05 and gain <= 0.05 and shown > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("n", [128, 256, 512, 1024])
@pytest.mark.parametrize(
    ("accuracies", "costs", "copy"),
    [
        ([*FLAT, 0.909], [*COSTS, 6.64], 3),  # a copy of the dearest
        ([*FLAT, 0.907], [*COSTS, 4.74], 1),  # and of one in the middle
        ([*FLAT, 0.909], [*COSTS, 4.64], None),  # saves 2
        ([*FLAT, 0.907], [*COSTS, 2.74], None),  # the same, at once cheaper than all
        ([0.88, 0.905, 0.909, 0.85, 0.905], [3.7, 4.74, 6.64, 3.0, 3.74], None),  # few settings, saves 1
        ([0.905, 0.905, 0.905, 0.905, 0.905], [4.7, 4.74, 5.5, 6.64, 3.7], None),  # all alike, saves 1
        ([0.70, 0.80, 0.86, 0.88, 0.82], [4.0, 5.5, 8.0, 12.0, 5.0], None),  # steep
    ],
)
def test_coverage(n, accuracies, costs, copy):
    """Each limit is wrong in at most 2.5 % of samples, up to the simulation's own error (three standard errors of
    400)."""
    too_high, too_low, gain, _ = missed(accuracies, costs, 4, n, 400, copy)
    most = 0.025 + 3 * (0.025 * 0.975 / 400) ** 0.5
    assert too_high <= most and too_low <= most and gain <= 2 * most


def test_without_one_setting_is_what_the_others_alone_say():
    """Settings off the hull, on it, twice on a corner of it."""
    x, accuracy = [4.0, 6.0, 9.0, 8.0, 6.0, 5.0, 4.5, 7.0, 2.0], [0.6, 0.8, 0.82, 0.8, 0.8, 0.7, 0.6, 0.81, 0.9]
    base = list(range(7))
    found = exact(x, accuracy, base)
    for run in range(len(x)):
        alone = [exact(x, accuracy, [i for i in base if i != left_out])[run].saved for left_out in base]
        assert found[run].without == pytest.approx((min(alone), max(alone)))
