"""A run against one baseline run, question by question."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from warmexp.analysis.measured import Measured
from warmexp.analysis.paired import (
    difference_interval,
    mcnemar,
    non_inferior,
    questions_needed,
    questions_needed_non_inferior,
)
from warmexp.analysis.resample import percentile_interval, replicate_means

LEVEL = 0.95
_WARM_GROUPS = ("init", "proposer", "remask", "anchor", "evidence")
_WARM = (*(f"choices.{group}" for group in _WARM_GROUPS), *(f"{group}." for group in _WARM_GROUPS))


@dataclass(frozen=True)
class Paired:
    """A run minus the baseline run `baseline`, on the n questions that both answered.

    wins, losses: questions that only the run, only the baseline got right (of several seeds: got right more often).
    mcnemar_p: exact, two-sided; where a run is several seeds' mean, Student's paired t over questions, as `test` says.
    non_inferior: one-sided 95 % against the margin. x_difference: mean of the run's x less the baseline's, negative
    where the run is cheaper, with a paired bootstrap interval (nfe_difference is the same number on the NFE axis).
    questions_needed: for McNemar's test to find the observed difference (two-sided 5 %, power 80 %), where it has not;
    questions_needed_non_inferior: the same for non-inferiority. None where there is nothing to find, or it has been
    found. compared: the m comparisons of the family that the run belongs to; mcnemar_p_holm and the simultaneous
    intervals are adjusted for them (family.py). None outside a family: oracles, autoregressive rows, parts of a pool.
    """

    baseline: str
    baseline_label: str
    n: int
    wins: int
    losses: int
    mcnemar_p: float
    significant: bool
    accuracy_difference: float
    accuracy_difference_ci95: tuple[float, float]
    margin: float
    non_inferior: bool
    x_difference: float
    x_difference_ci95: tuple[float, float]
    nfe_difference: float | None
    nfe_difference_ci95: tuple[float, float] | None
    questions_needed: int | None
    questions_needed_non_inferior: int | None
    test: str = "exact McNemar"
    compared: int | None = None
    mcnemar_p_holm: float | None = None
    x_difference_simultaneous: tuple[float, float] | None = None
    accuracy_difference_simultaneous: tuple[float, float] | None = None


def accuracy_limits(pair: Paired, error: float, level: float) -> tuple[float, float]:
    """Interval of the difference of accuracies at another level: Tango's, and of several seeds the normal one with this
    standard error."""
    if pair.test != "exact McNemar":
        z = NormalDist().inv_cdf(0.5 + level / 2)
        return pair.accuracy_difference - z * error, pair.accuracy_difference + z * error
    return difference_interval(pair.wins, pair.losses, pair.n, level)


def partner(i: int, part: list[Measured], baseline: list[int]) -> int:
    """The baseline run to pair a run with: the same questions, then the most settings in common besides the warm start
    itself (so the same threshold, where there is one), then the most accurate, then the cheapest."""
    mine = _controls(part[i])

    def closeness(j: int) -> tuple:
        shared = len(mine & _controls(part[j]))
        return (
            part[j].point.questions == part[i].point.questions,
            shared,
            part[j].right.mean(),
            -part[j].x["nfe"].mean(),
        )

    return max(baseline, key=closeness)


def _controls(one: Measured) -> set[tuple]:
    return {(key, str(value)) for key, value in one.point.settings if not key.startswith(_WARM)}


def compare(run: Measured, base: Measured, x: str, star: np.ndarray, margin: float) -> tuple[Paired | None, str | None]:
    """A run against a baseline run; None with the reason where they share no question.

    star: [B] the difference of their mean x in every resample, for two runs on the same questions.
    """
    mine = yours = np.arange(len(run.ids))
    if run.ids != base.ids:  # only pooled runs have such partners
        _, mine, yours = np.intersect1d(run.ids, base.ids, return_indices=True)
        if not len(mine) or run.point.task != base.point.task:
            return None, f"it shares no question with the baseline run {base.point.label}"
        star = replicate_means(
            (run.x[x][mine] - base.x[x][yours])[:, None], run.point.questions + base.point.questions
        )[:, 0]
    n, right, other = len(mine), run.right[mine], base.right[yours]
    wins, losses = int((right > other).sum()), int((right < other).sum())
    verdict = _of_seeds(right - other, margin) if run.members or base.members else _of_flips(wins, losses, n, margin)
    x_difference, interval = float((run.x[x][mine] - base.x[x][yours]).mean()), percentile_interval(star)
    nfe = (x_difference, interval) if x == "nfe" else _nfe(run, base, mine, yours)
    return Paired(
        baseline=base.point.run_id,
        baseline_label=base.point.label,
        n=n,
        wins=wins,
        losses=losses,
        **verdict,
        margin=margin,
        x_difference=x_difference,
        x_difference_ci95=interval,
        nfe_difference=nfe[0],
        nfe_difference_ci95=nfe[1],
    ), None


def _of_flips(wins: int, losses: int, n: int, margin: float) -> dict[str, Any]:
    """What is said of the difference where every question was answered once by each."""
    p, enough = mcnemar(wins, losses), non_inferior(wins, losses, n, margin)
    return {
        "test": "exact McNemar",
        "mcnemar_p": p,
        "significant": p < 1 - LEVEL,
        "accuracy_difference": (wins - losses) / n,
        "accuracy_difference_ci95": difference_interval(wins, losses, n),
        "non_inferior": enough,
        "questions_needed": None if p < 1 - LEVEL else questions_needed(wins, losses, n),
        "questions_needed_non_inferior": None if enough else questions_needed_non_inferior(wins, losses, n, margin),
    }


def _of_seeds(differences: np.ndarray, margin: float) -> dict[str, Any]:
    """The same where a question has a share of right answers over seeds: Student's paired t over questions.
    differences: [n] shares."""
    from scipy import stats

    n, mean = len(differences), float(differences.mean())
    error = float(differences.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0
    if error == 0:
        return {**_of_flips(0, 0, n, margin), "test": "paired t over questions", "accuracy_difference": mean}
    p = float(2 * stats.t.sf(abs(mean) / error, n - 1))
    half = float(stats.t.ppf(0.5 + LEVEL / 2, n - 1)) * error
    return {
        "test": "paired t over questions",
        "mcnemar_p": p,
        "significant": p < 1 - LEVEL,
        "accuracy_difference": mean,
        "accuracy_difference_ci95": (mean - half, mean + half),
        "non_inferior": bool((mean + margin) / error > stats.t.ppf(LEVEL, n - 1)),
        "questions_needed": None,
        "questions_needed_non_inferior": None,
    }


def _nfe(run: Measured, base: Measured, mine: np.ndarray, yours: np.ndarray) -> tuple[float, tuple[float, float]]:
    differences = run.x["nfe"][mine] - base.x["nfe"][yours]
    return float(differences.mean()), percentile_interval(
        replicate_means(differences[:, None], run.point.questions)[:, 0]
    )
