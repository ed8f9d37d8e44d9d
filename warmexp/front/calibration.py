"""Is a token as often right as its author was sure? Reliability of the proposal's trust and of the backbone's commit confidence.

Records have no token-wise truth (there are many right solutions), so "right" is the answer's: a token counts as right where the text it
stands in, the proposal or the response, ends in the right answer. Two levels:

- tokens: every token's number against its text's answer. Tokens of one text share their outcome, so no interval is given.
- answers: one number per text, its weakest token's, since a chain of steps is as right as its weakest step.

Of injected tokens the backbone's own verdict is known as well: `survival` is trust against whether the token stands on the final canvas.

The expected calibration error is C. Guo et al., "On calibration of modern neural networks" (ICML 2017), eq. 3, over equally wide bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from warmexp.front.proposals import fates

BINS = 10


@dataclass(frozen=True)
class Bin:
    """The numbers in [low, high): how many, their mean, and the share of them that was right (None where there are none)."""

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
    """survival: of injected tokens; None for a confidence, and where none was injected."""

    tokens: Reliability
    answers: Reliability
    survival: Reliability | None = None


def reliability(numbers: Sequence[float] | np.ndarray, right: Sequence[bool] | np.ndarray, bins: int = BINS) -> Reliability | None:
    """Reliability of n numbers in [0, 1] as probabilities of n outcomes; None for n = 0. The last bin holds 1.0 as well."""
    numbers, right = np.asarray(numbers, np.float64), np.asarray(right, np.float64)
    n = numbers.size
    if n == 0:
        return None
    index = np.minimum((numbers * bins).astype(int), bins - 1)
    count = np.bincount(index, minlength=bins)
    mean = np.bincount(index, numbers, bins) / np.maximum(count, 1)
    share = np.bincount(index, right, bins) / np.maximum(count, 1)
    rows = tuple(
        Bin(b / bins, (b + 1) / bins, int(count[b]), float(mean[b]) if count[b] else None, float(share[b]) if count[b] else None)
        for b in range(bins)
    )
    return Reliability(n, float((count * np.abs(share - mean)).sum() / n), float(numbers.mean()), float(right.mean()), rows)


def calibrate(rows: list[dict[str, Any]], accuracy: str) -> dict[str, Calibration | None]:
    """From records: `confidence` of the tokens that the backbone committed before the first end token, `trust` of the proposed tokens.

    None where the records have no such number: an earlier version's have no confidence, and an author who said nothing (an oracle, a
    file without probabilities) has no trust to calibrate.
    """
    committed, proposed, injected = [], [], []
    for r in rows:
        if r.get("confidence"):
            numbers = [c for c in r["confidence"][: r["response_tokens"]] if c is not None]
            committed.append((numbers, r["correct"][accuracy]))
        if r.get("proposal") and r["proposal"].get("trust"):
            trust = r["proposal"]["trust"]
            proposed.append((trust, r["proposal"][f"correct_{accuracy}"]))
            injected += [(trust[at], same) for at, _, same in fates(r)] if "source" in r else []
    survival = reliability(*zip(*injected, strict=True)) if injected else None
    return {"confidence": _calibration(committed), "trust": _calibration(proposed, survival)}


def _calibration(texts: list[tuple[list[float], bool]], survival: Reliability | None = None) -> Calibration | None:
    texts = [(numbers, right) for numbers, right in texts if numbers]
    if not texts:
        return None
    numbers = np.concatenate([np.asarray(one) for one, _ in texts])
    outcome = np.repeat([right for _, right in texts], [len(one) for one, _ in texts])
    answers = reliability([min(one) for one, _ in texts], [right for _, right in texts])
    return Calibration(reliability(numbers, outcome), answers, survival)
