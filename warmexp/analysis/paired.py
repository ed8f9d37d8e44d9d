"""Two runs on the same questions: exact McNemar, the score interval of the difference, non-inferiority, and how many
questions it takes.

b counts the questions that only the run got right (wins), c those that only the baseline did (losses), n all questions.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from warmexp.errors import check_range

POWER = 0.8
_MANY = 20_000  # flips beyond which a test's power is not added up one by one


def mcnemar(b: int, c: int) -> float:
    """Two-sided exact McNemar test: the p value of b out of b + c under a fair coin. 1.0 without discordant questions.

    Source: Q. McNemar, Psychometrika 12 (1947); exact form as in A. Agresti, "Categorical data analysis", §11.1.
    """
    if b + c == 0:
        return 1.0
    from scipy import stats  # takes a second to import

    return float(stats.binomtest(b, b + c, 0.5).pvalue)


def _variance(difference: float, b: int, c: int, n: int) -> float:
    """n times the variance of the observed difference where the true one is `difference`, with the losses' share at its
    most likely."""
    linear = -b - c + (2 * n - b + c) * difference
    constant = -c * difference * (1 - difference)
    q = (math.sqrt(max(linear**2 - 8 * n * constant, 0.0)) - linear) / (4 * n)
    return max(2 * q + difference * (1 - difference), 0.0)


def _score(difference: float, b: int, c: int, n: int) -> float:
    """Tango's score statistic, standard normal where the true difference of the accuracies is `difference`, in (−1,
    1)."""
    variance, distance = _variance(difference, b, c, n), b - c - n * difference
    if variance <= 1e-12:
        return 0.0 if abs(distance) < 1e-9 * n else math.copysign(math.inf, distance)
    return distance / math.sqrt(n * variance)


def difference_interval(b: int, c: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Score interval of (b − c)/n, the difference of two paired accuracies.

    Returns:
        lower and upper limit in [−1, 1].
    Raises:
        ValueError: unless b, c ≥ 0 and b + c ≤ n, n > 0.

    Source: T. Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Statistics in Medicine 17 (1998). It keeps its coverage where few questions flip, where Wald's does not.
    """
    if not (b >= 0 and c >= 0 and 0 < n >= b + c):
        raise ValueError(f"b={b}, c={c} are not counts among n={n} questions")
    from scipy.optimize import brentq

    z = NormalDist().inv_cdf(0.5 + level / 2)
    edge = 1 - 1e-12
    estimate = min(max((b - c) / n, -edge), edge)

    def limit(target: float, end: float) -> float:
        at_end = _score(end, b, c, n) - target
        if (at_end > 0) == (
            end > 0
        ) or at_end == 0:  # the score falls as the difference grows; it never reaches the target
            return math.copysign(1.0, end)
        return float(brentq(lambda d: _score(d, b, c, n) - target, *sorted((estimate, end)), xtol=1e-10))

    return limit(z, -edge), limit(-z, edge)


def non_inferior(b: int, c: int, n: int, margin: float, level: float = 0.95) -> bool:
    """Whether the run's accuracy is, with one-sided confidence `level`, less than `margin` below the baseline's.

    The score test of H0: difference ≤ −margin (Tango, 1998), which is to say that the lower limit of the interval of
    level 1 − 2(1 − level) lies above −margin.

    Raises:
        UserError: for a margin outside (0, 1].
    """
    check_range("margin", margin, 0.0, 1.0, "how much accuracy may be lost, as a share of the questions", open_low=True)
    return _score(-min(margin, 1 - 1e-12), b, c, n) > NormalDist().inv_cdf(level)


@lru_cache(maxsize=64)
def fewest_questions(margin: float, level: float = 0.95) -> int:
    """With fewer questions than this, not even two runs that never differ are shown to be within the margin."""
    z = NormalDist().inv_cdf(level)
    n = max(1, math.floor(z * z * (1 - margin) / margin) - 2)
    while not non_inferior(0, 0, n, margin, level):
        n += 1
    return n


@lru_cache(maxsize=4096)
def questions_needed(b: int, c: int, n: int, level: float = 0.95, power: float = POWER) -> int | None:
    """How many questions McNemar's exact test would need to find this difference, were the observed shares of wins and
    losses true.

    Returns:
        the number of questions for two-sided error 1 − level and the given power; None where there is no difference to
        find (b = c).

    Source: R. J. Connor, "Sample size for testing differences in proportions for the paired-sample design", Biometrics
    43 (1987), whose number is that of the uncorrected test; from there the number grows until the exact test's own
    power is reached.
    """
    if b == c:
        return None
    flips, difference = (b + c) / n, abs(b - c) / n
    alpha, beta = NormalDist().inv_cdf(0.5 + level / 2), NormalDist().inv_cdf(power)
    needed = math.ceil((alpha * math.sqrt(flips) + beta * math.sqrt(flips - difference**2)) ** 2 / difference**2)
    if needed * flips > _MANY:  # where a correction of one flip no longer matters
        return needed
    step = max(1, math.ceil(0.005 * needed))
    while exact_power(needed, flips, max(b, c) / (b + c), level) < power:
        needed += step
    return needed


def exact_power(n: int, flips: float, favourable: float, level: float = 0.95) -> float:
    """How often the two-sided exact McNemar test on n questions finds a difference.

    flips: share of questions on which the runs differ. favourable: share of these that go one way.
    """
    from scipy import stats

    spread = 6 * math.sqrt(n * flips * (1 - flips)) + 1
    d = np.arange(max(1, int(n * flips - spread)), min(n, int(n * flips + spread)) + 1)
    # The largest count of the rarer side that the test still rejects: P(X ≤ k) ≤ (1 − level)/2 for a fair coin.
    k = stats.binom.ppf((1 - level) / 2, d, 0.5)
    k = np.where(stats.binom.cdf(k, d, 0.5) <= (1 - level) / 2, k, k - 1)
    found = stats.binom.cdf(k, d, favourable) + stats.binom.sf(d - k - 1, d, favourable)
    return float((stats.binom.pmf(d, n, flips) * np.where(k >= 0, found, 0.0)).sum())


def questions_needed_non_inferior(
    b: int, c: int, n: int, margin: float, level: float = 0.95, power: float = POWER
) -> int | None:
    """The same for showing non-inferiority; None where the observed loss already is the margin or more.

    Source: J.-P. Liu et al., "Tests for equivalence or non-inferiority for paired binary data", Statistics in Medicine
    21 (2002): the variance at the margin for the test, the observed one for the power.
    """
    difference = (b - c) / n
    room = difference + margin
    if room <= 0:
        return None
    alpha, beta = NormalDist().inv_cdf(level), NormalDist().inv_cdf(power)
    here = (b + c) / n - difference**2
    return max(1, math.ceil((alpha * math.sqrt(_variance(-margin, b, c, n)) + beta * math.sqrt(here)) ** 2 / room**2))
