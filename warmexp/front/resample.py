"""The paired bootstrap: questions are drawn with replacement, the same ones for every run, and every mean is taken again.

Because all runs of one set of questions share the draws, differences between them (and whatever is computed from several of them, such
as the baseline's front) keep the correlation that questions of unequal difficulty give them. Seeded: the same runs, the same intervals.

Source: B. Efron and R. Tibshirani, "An introduction to the bootstrap" (1993), ch. 8 and 13 (percentile intervals).
"""

from __future__ import annotations

import zlib

import numpy as np

RESAMPLES = 4_999
_BATCH = 2**22  # draws held at once: about 64 MB


def replicate_means(values: np.ndarray, name: str, resamples: int = RESAMPLES) -> np.ndarray:
    """Means over resampled questions.

    Args:
        values: [n, k], one row per question, one column per quantity.
        name: of the set of questions; sets of different names are resampled independently.
        resamples: B.
    Returns:
        [B, k]
    """
    n, k = values.shape
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    out = np.empty((resamples, k))
    step = max(1, _BATCH // n)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, n, size=(rows, n)) + n * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        out[start : start + rows] = counts @ values / n
    return out


def percentile_interval(replicates: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The central interval of replicates, which may be infinite: then a limit may be, too. [B] -> lower and upper limit."""
    ordered = np.sort(replicates)
    cut = int((1 - level) / 2 * (ordered.size + 1))  # with B = 4,999 and 95 %: the 125th from either end
    return float(ordered[max(cut - 1, 0)]), float(ordered[-max(cut, 1)])
