"""The statistics against published numbers, enumeration, slow loops and simulated populations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from warmexp.analysis.paired import (
    _score,
    difference_interval,
    exact_power,
    fewest_questions,
    mcnemar,
    non_inferior,
    questions_needed,
    questions_needed_non_inferior,
)
from warmexp.analysis.resample import percentile_interval, replicate_means
from warmexp.errors import UserError

counts = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 40)).map(
    lambda t: (t[0], t[1], t[0] + t[1] + t[2])
)


def test_mcnemar_against_enumeration():
    for n in range(12):
        ways = [math.comb(n, k) for k in range(n + 1)]
        for b in range(n + 1):
            as_rare = sum(way for way in ways if way <= ways[b])
            assert mcnemar(b, n - b) == pytest.approx(as_rare / 2**n)


def test_tango_against_published_intervals():
    """Fagerland, Lydersen and Laake, Statistics in Medicine 33 (2014): airway hyper-responsiveness, b = 1, c = 7 of 21
    pairs."""
    assert difference_interval(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_the_score_uses_the_most_likely_shares():
    """q of the statistic maximises the likelihood of (wins, losses, ties) where wins − losses = difference."""
    for b, c, n, difference in ((3, 9, 30, -0.1), (0, 5, 20, -0.3), (6, 2, 25, 0.05)):

        def unlikely(q, b=b, c=c, n=n, difference=difference):
            shares = q + difference, q, 1 - 2 * q - difference
            return -sum(k * math.log(max(p, 1e-300)) for k, p in zip((b, c, n - b - c), shares, strict=True) if k)

        low, high = max(0.0, -difference), (1 - difference) / 2
        q = minimize_scalar(unlikely, bounds=(low, high), method="bounded", options={"xatol": 1e-10}).x
        expected = (b - c - n * difference) / math.sqrt(n * (2 * q + difference * (1 - difference)))
        assert _score(difference, b, c, n) == pytest.approx(expected, rel=1e-4)


@given(counts)
def test_the_interval_holds_what_the_score_does_not_reject(case):
    b, c, n = case
    low, high = difference_interval(b, c, n)
    assert -1 <= low <= (b - c) / n <= high <= 1
    assert difference_interval(c, b, n) == pytest.approx((-high, -low), abs=1e-6)
    for difference in np.linspace(-0.99, 0.99, 67):
        inside = abs(_score(difference, b, c, n)) < 1.959964
        if min(abs(difference - low), abs(difference - high)) > 1e-6:
            assert inside == (low < difference < high)
    assert non_inferior(b, c, n, 0.05) == (difference_interval(b, c, n, level=0.9)[0] > -0.05)


def test_the_interval_covers():
    rng = np.random.default_rng(5)
    for wins, losses, n in ((0.02, 0.05, 128), (0.01, 0.01, 60), (0.2, 0.1, 40)):
        drawn = rng.multinomial(n, [wins, losses, 1 - wins - losses], size=400)
        distinct, times = np.unique(drawn[:, :2], axis=0, return_counts=True)
        limits = [difference_interval(int(b), int(c), n) for b, c in distinct]
        covered = sum(t for (low, high), t in zip(limits, times, strict=True) if low <= wins - losses <= high)
        assert 0.92 <= covered / 400 <= 1.0


def test_wrong_counts():
    with pytest.raises(ValueError, match="b=3, c=3 are not counts among n=5"):
        difference_interval(3, 3, 5)
    with pytest.raises(UserError, match=r"margin=0 is not in \(0, 1\]"):
        non_inferior(1, 1, 5, 0)


def test_as_many_questions_as_are_needed_suffice():
    """With that many questions drawn from the observed shares, about 80 % of exact tests find the difference; half as
    many do not."""
    rng = np.random.default_rng(3)
    b, c, n = 6, 14, 200
    needed = questions_needed(b, c, n)
    assert 350 < needed < 520 and questions_needed(c, b, n) == needed and questions_needed(5, 5, 100) is None

    def power(questions: int) -> float:
        drawn = rng.multinomial(questions, [b / n, c / n, 1 - (b + c) / n], size=600)
        found = {pair: mcnemar(*pair) < 0.05 for pair in {(int(w), int(l)) for w, l, _ in drawn}}
        return float(np.mean([found[int(w), int(l)] for w, l, _ in drawn]))

    assert 0.7 < power(needed) < 0.87 and power(needed // 2) < 0.6


def test_as_many_as_non_inferiority_needs():
    rng = np.random.default_rng(4)
    b, c, n, margin = 8, 8, 200, 0.02
    needed = questions_needed_non_inferior(b, c, n, margin)
    assert 0.95 < needed / ((1.6448536 + 0.8416212) ** 2 * 0.08 / 0.02**2) < 1.1
    drawn = rng.multinomial(needed, [b / n, c / n, 1 - (b + c) / n], size=500)
    assert 0.72 < np.mean([non_inferior(int(w), int(l), needed, margin) for w, l, _ in drawn]) < 0.88
    assert questions_needed_non_inferior(1, 5, 100, 0.04) is None and questions_needed_non_inferior(9, 0, 10, 0.05) < 10
    # Two runs that never differed still need so many questions to show that they lose less than 1 %.
    alike = questions_needed_non_inferior(0, 0, 50, 0.01)
    assert non_inferior(0, 0, alike, 0.01) and not non_inferior(0, 0, alike - 1, 0.01) and alike == 268


def test_the_bootstrap_against_a_slow_loop():
    rng = np.random.default_rng(0)
    values = np.column_stack([rng.exponential(5, 30), rng.random(30) < 0.3])
    means = replicate_means(values, "some", resamples=400)
    assert np.array_equal(means, replicate_means(values, "some", resamples=400))
    assert not np.array_equal(means, replicate_means(values, "others", resamples=400))
    # Questions keep their values together: a column that is a function of another stays one in every resample.
    both = replicate_means(np.column_stack([values, values[:, 0] - 3 * values[:, 1]]), "some", resamples=50)
    assert both[:, 2] == pytest.approx(both[:, 0] - 3 * both[:, 1])
    slow = np.array([values[rng.integers(0, 30, 30)].mean(axis=0) for _ in range(4000)])
    assert means.mean(axis=0) == pytest.approx(slow.mean(axis=0), rel=0.02) and means.std(axis=0) == pytest.approx(
        slow.std(axis=0), rel=0.12
    )
    assert percentile_interval(means[:, 0]) == pytest.approx(np.quantile(slow[:, 0], [0.025, 0.975]), rel=0.06)


def test_batches_of_resamples_change_nothing(monkeypatch):
    values = np.arange(20.0)[:, None]
    whole = replicate_means(values, "q", resamples=100)
    monkeypatch.setattr("warmexp.analysis.resample._BATCH", 140)  # seven resamples at once
    assert np.array_equal(whole, replicate_means(values, "q", resamples=100))


@settings(max_examples=50)
@given(st.lists(st.floats(-1e6, 1e6), min_size=40, max_size=400))
def test_the_percentile_interval_leaves_out_at_most_its_share(replicates):
    low, high = percentile_interval(np.array(replicates))
    assert np.mean(np.array(replicates) < low) <= 0.025 and np.mean(np.array(replicates) > high) <= 0.025


def test_an_interval_may_be_open():
    stars = np.r_[np.full(100, -np.inf), np.arange(900.0)]
    assert percentile_interval(stars)[0] == -np.inf and math.isfinite(percentile_interval(stars)[1])


def test_the_questions_needed_are_those_of_the_exact_test():
    """Connor's number is that of an uncorrected test: the exact one finds the difference in 75 to 77 % of samples of
    that size."""
    rng = np.random.default_rng(8)
    for b, c, n in ((6, 14, 200), (2, 9, 128), (30, 12, 512)):
        needed, flips, favourable = questions_needed(b, c, n), (b + c) / n, max(b, c) / (b + c)
        assert 0.8 <= exact_power(needed, flips, favourable) < 0.83
        drawn = rng.multinomial(needed, [b / n, c / n, 1 - (b + c) / n], size=1500)
        found = {pair: mcnemar(*pair) < 0.05 for pair in {(int(w), int(l)) for w, l, _ in drawn}}
        power = np.mean([found[int(w), int(l)] for w, l, _ in drawn])
        assert power == pytest.approx(exact_power(needed, flips, favourable), abs=0.035)


def test_fewer_questions_than_these_show_nothing():
    assert fewest_questions(0.01) == 268 and not non_inferior(0, 0, 267, 0.01) and non_inferior(0, 0, 268, 0.01)
    assert fewest_questions(0.05) == 52 and fewest_questions(1.0) == 1
