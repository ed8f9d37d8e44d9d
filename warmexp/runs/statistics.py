"""Intervals for the two axes of a front: Wilson for an accuracy, the percentile bootstrap for a mean.

Both treat the questions of a run as an independent sample; they say nothing about differences between two runs on the
same questions, which are paired and need a paired test.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 9_999
_BATCH = 2**20  # values held at once while resampling: about 16 MB


def wilson(correct: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion, without continuity correction.

    Args:
        correct: number of successes.
        n: number of trials.
        level: coverage, in (0, 1).
    Returns:
        lower and upper limit, as fractions. With no trials nothing is known: (0, 1).
    Raises:
        ValueError: unless 0 <= correct <= n.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927);
    SciPy's `binomtest`.
    """
    if not 0 <= correct <= n:
        raise ValueError(f"correct={correct} is not between 0 and n={n}")
    if n == 0:
        return 0.0, 1.0
    from scipy import stats  # takes a second to import, and most commands compute no interval

    interval = stats.binomtest(correct, n).proportion_ci(confidence_level=level, method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap_mean(values: Sequence[float] | np.ndarray, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean: the same values, level and seed always give the same interval.

    Args:
        values: [n] one value per question, in the unit of the result.
        level: coverage, in (0, 1).
        seed: of the resampling.
    Returns:
        lower and upper limit. A single value or a constant has no spread to resample: both limits are that value.
    Raises:
        ValueError: when there is no value, or one that is not finite.

    Source: B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979); SciPy's
    `bootstrap`.
    """
    sample = np.asarray(values, dtype=np.float64).ravel()
    if sample.size == 0:
        raise ValueError("a mean needs at least one value")
    if not np.isfinite(sample).all():
        raise ValueError("a mean needs finite values")
    if (sample == sample[0]).all():
        return float(sample[0]), float(sample[0])
    from scipy import stats

    result = stats.bootstrap(
        (sample,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, _BATCH // sample.size),
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
