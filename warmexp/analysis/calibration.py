"""Is a token as often right as it was thought to be? Reliability of four numbers that an author or the backbone gives
to a token.

- trust: the author's own probability of a proposed token;
- calibrated: the same after a fitted map, where the run used one;
- score: what the backbone said of the proposed token where it stands, before any of them was kept (an init that
  verifies);
- confidence: what the backbone said of a token when it put it on a masked position.

Three levels:

- tokens: every token's number against its own truth. On a task that knows all correct solutions (the lab) a token is
  right as long as the text up to it begins one of them; elsewhere it is as right as the answer of the text it stands
  in, the proposal or the response. Tokens of one text share their fate, so no interval is given.
- behind_right: of these, the tokens before which everything is right, by token alone. This is what an author's
  probability is about, and what a rule needs that keeps a proposal up to its first mistake.
- answers: one number per text, its weakest token's, against the text's answer, since a chain of steps is as right as
  its weakest step.

The expected calibration error is C. Guo et al., "On calibration of modern neural networks" (ICML 2017), eq. 3, over
equally wide bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

BINS = 10


@dataclass(frozen=True)
class Bin:
    """The numbers in [low, high): how many, their mean, and the share of them that was right (None where there are
    none)."""

    low: float
    high: float
    n: int
    mean: float | None
    right: float | None


@dataclass(frozen=True)
class Reliability:
    """ece: Σ n_b/n · |right_b − mean_b|. mean, right: over all n."""

    n: int
    ece: float
    mean: float
    right: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class Calibration:
    """truth: what `tokens` were held against, the `token` itself or the text's `answer`; behind_right is None for the
    latter."""

    truth: str
    tokens: Reliability
    behind_right: Reliability | None
    answers: Reliability


def reliability(
    numbers: Sequence[float] | np.ndarray, right: Sequence[bool] | np.ndarray, bins: int = BINS
) -> Reliability | None:
    """Reliability of n numbers in [0, 1] as probabilities of n outcomes; None for n = 0. The last bin holds 1.0 as
    well."""
    numbers, right = np.asarray(numbers, np.float64), np.asarray(right, np.float64)
    n = numbers.size
    if n == 0:
        return None
    index = np.minimum((numbers * bins).astype(int), bins - 1)
    count = np.bincount(index, minlength=bins)
    mean = np.bincount(index, numbers, bins) / np.maximum(count, 1)
    share = np.bincount(index, right, bins) / np.maximum(count, 1)
    rows = tuple(
        Bin(
            b / bins,
            (b + 1) / bins,
            int(count[b]),
            float(mean[b]) if count[b] else None,
            float(share[b]) if count[b] else None,
        )
        for b in range(bins)
    )
    return Reliability(
        n, float((count * np.abs(share - mean)).sum() / n), float(numbers.mean()), float(right.mean()), rows
    )


def calibrate(rows: list[dict[str, Any]], accuracy: str) -> dict[str, Calibration | None]:
    """From records, by the name of the number; None where the records have no such number.

    An author who said nothing (an oracle, a file without probabilities) has no trust to calibrate. Of a tail of
    end-of-text behind a proposal the first token counts, and of a response what stands before its first end token.
    """
    verdict = f"correct_{accuracy}"  # which proposals of an earlier version lack
    given = [(r["proposal"], r["proposal"][verdict]) for r in rows if verdict in (r.get("proposal") or {})]
    offered = {
        name: [(_offered(p, name), right, p.get("right_tokens")) for p, right in given]
        for name in ("trust", "calibrated", "score")
    }
    committed = [
        (r["confidence"][: r["response_tokens"]], r["correct"][accuracy], r.get("right_tokens"))
        for r in rows
        if r.get("confidence")
    ]
    return {name: _calibration(texts) for name, texts in ({"confidence": committed} | offered).items()}


def _offered(proposal: dict[str, Any], name: str) -> list[float | None]:
    numbers = proposal.get(name) or []
    return numbers[: proposal.get("written", len(numbers)) + 1]


def _calibration(texts: list[tuple[list[float | None], bool, int | None]]) -> Calibration | None:
    """From each text's numbers (None where a token has none), whether its answer is right, and how many of its first
    tokens are."""
    texts = [text for text in texts if text[0]]
    numbers = np.array([number for said, _, _ in texts for number in said], np.float64)  # None becomes NaN
    known = ~np.isnan(numbers)
    if not known.any():
        return None
    lengths = np.array([len(said) for said, _, _ in texts])
    starts = lengths.cumsum() - lengths
    answered, right = np.fmin.reduceat(numbers, starts), np.array([right for _, right, _ in texts], bool)
    answers = reliability(answered[~np.isnan(answered)], right[~np.isnan(answered)])
    if any(until is None for _, _, until in texts):
        return Calibration("answer", reliability(numbers[known], right.repeat(lengths)[known]), None, answers)
    # Counted from each text's first wrong token: before it right, behind it wrong.
    place = np.arange(len(numbers)) - (starts + [until for _, _, until in texts]).repeat(lengths)
    first = known & (place <= 0)
    return Calibration(
        "token", reliability(numbers[known], place[known] < 0), reliability(numbers[first], place[first] < 0), answers
    )
