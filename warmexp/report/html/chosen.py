"""Which questions a report carries with text and decode: all of a small study, and of a large one those that tell the
runs apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def ranked(right: Sequence[np.ndarray], reference: np.ndarray) -> list[int]:
    """Question indices, those first on which runs flip against the reference run; ties keep the questions' order.

    A run's flips share one vote, so that the two flips of a run with two come before the five hundred of a run with
    five hundred.

    Args:
        right: [n] bool per run. reference: [n] bool, of the run to compare with.
    """
    votes = np.zeros(len(reference))
    for run in right:
        flips = run != reference
        if flips.any():
            votes += flips / flips.sum()
    return np.argsort(-votes, kind="stable").tolist()


def common_start(texts: Sequence[str]) -> int:
    """How many characters all prompts begin with, cut back to a line's start: the few-shot examples, which need telling
    only once."""
    if len(texts) < 2:
        return 0
    low, high = min(texts), max(texts)
    same = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    return low.rfind("\n", 0, same) + 1
