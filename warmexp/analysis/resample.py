"""The paired bootstrap: questions are drawn with replacement, the same ones for every run, and every mean is taken
again.

Because all runs of one set of questions share the draws, differences between them (and whatever is computed from
several of them, such as the baseline's front) keep the correlation that questions of unequal difficulty give them.
Seeded: the same runs, the same intervals.

Source: B. Efron and R. Tibshirani, "An introduction to the bootstrap" (1993), ch. 8 and 13 (percentile intervals).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

RESAMPLES = 4_999
_BATCH = 2**22  # draws made at once: about 64 MB
_KEPT = 2**23  # draws kept for the next means: 64 MB, enough for 1,678 questions


def replicate_means(values: np.ndarray, name: str, resamples: int = RESAMPLES) -> np.ndarray:
    """Means over resampled questions.

    Args:
        values: [n, k], one row per question, one column per quantity.
        name: of the set of questions; sets of different names are resampled independently.
        resamples: B.
    Returns:
        [B, k]
    """
    n = len(values)
    draws = _kept(name, n, resamples) if resamples * n <= _KEPT else _draws(name, n, resamples)
    return np.concatenate([counts @ values for counts in draws]) / n


def seed_weights(name: str, resamples: int, seeds: int) -> np.ndarray:
    """[B, S] shares of S seeds drawn with replacement, one draw of all of them per resample."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds


@lru_cache(maxsize=1)
def _kept(name: str, n: int, resamples: int) -> tuple[np.ndarray, ...]:
    """Drawing takes far longer than taking the means, and one analysis takes many means of the same draws."""
    return tuple(_draws(name, n, resamples))


def _draws(name: str, n: int, resamples: int) -> Iterator[np.ndarray]:
    """How often each question is drawn: [rows, n] float64, in batches that make up the resamples."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    step = max(1, _BATCH // n)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, n, size=(rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def percentile_interval(replicates: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The central interval of replicates, which may be infinite: then a limit may be, too. [B] -> lower and upper
    limit."""
    ordered = np.sort(replicates)
    cut = int((1 - level) / 2 * (ordered.size + 1))  # with B = 4,999 and 95 %: the 125th from either end
    return float(ordered[max(cut - 1, 0)]), float(ordered[-max(cut, 1)])
