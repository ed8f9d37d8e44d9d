"""Runs that differ in the seed alone are one point, and its intervals are those of questions and seeds."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.analysis.populations import drawn
from warmexp.analysis.analysis import analyse
from warmexp.analysis.points import collect
from warmexp.analysis.resample import replicate_means, seed_weights


def test_three_seeds_are_one_point(run, tmp_path):
    run("cold", tau=0.9, nfe=9, correct=75)
    for seed, correct, shift in ((0, 70, 0), (1, 76, 20), (2, 73, 40)):
        run(
            f"warm{seed}",
            init="token_inject",
            init_keys={"rho": 0.5},
            nfe=5 + seed,
            correct=correct,
            shift=shift,
            settings={"seed": seed},
        )
    front = analyse(collect(tmp_path, "strict")[0])
    cold, warm = front.runs
    assert warm.point.seeds == (0, 1, 2) and warm.point.label.endswith("3 seeds") and not cold.point.seeds
    assert warm.x == pytest.approx(6) and warm.accuracy == pytest.approx(0.73) and warm.point.nfe == pytest.approx(6)
    assert warm.paired.test == "paired t over questions" and warm.paired.accuracy_difference == pytest.approx(-0.02)
    low, high = warm.paired.accuracy_difference_ci95
    assert low < -0.02 < high and warm.paired.wins + warm.paired.losses > 20
    told = next(run for run in front.to_json()["runs"] if run["seeds"])["seeds"]
    assert told["values"] == [0, 1, 2] and len(told["runs"]) == 3 and told["accuracy_sd"] == pytest.approx(0.03)
    assert "3 where a label says so" in next(one.said for one in front.checklist if one.item == "Seeds")
    json.dumps(front.to_json(), allow_nan=False)
    own = [one.point.accuracy_ci95 for one in warm.measured.members]
    assert np.diff(warm.point.accuracy_ci95) < min(np.diff(one) for one in own)


def interval(right: np.ndarray, name: str) -> np.ndarray:
    """right: [n, S] -> the standard error of the mean over questions and seeds."""
    means = replicate_means(right.astype(float), name, 999)
    return (means * seed_weights(name, *means.shape)).sum(axis=1).std()


def test_the_error_is_that_of_questions_and_seeds():
    """Luck that is independent per question is averaged by seeds; luck that a seed has on all questions is not hidden
    by many questions."""
    rng, n, seeds = np.random.default_rng(0), 400, 8
    independent = rng.random((n, seeds)) < 0.5
    assert interval(independent, "i") < 1.6 * 0.5 / np.sqrt(n * seeds)
    lucky = rng.random((n, seeds)) < 0.5 + 0.1 * np.resize([1, -1], seeds)
    assert interval(lucky, "l") > 0.6 * 0.1 / np.sqrt(seeds)


@pytest.mark.slow
def test_coverage_over_questions_and_seeds():
    """Questions of unequal difficulty, five seeds of one method: the interval holds the truth in 95 % of studies."""
    covered = 0
    for repeat in range(300):
        rng = np.random.default_rng(repeat)
        _, right = drawn(rng, 256, [0.8] * 5, [5.0] * 5, alike=0.6)
        covered += abs(right.mean() - 0.8) <= 1.96 * interval(right, f"r{repeat}")
    assert covered / 300 >= 0.93
