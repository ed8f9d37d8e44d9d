"""How often the canvas, read out after each forward, already holds the right answer (warmexp/runs/readout.py says how
it is read)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Curve:
    """Of n questions, correct[k]: how many are right after k forwards, k = 0 … the most that any question of the run
    took."""

    n: int
    correct: tuple[int, ...]


@dataclass(frozen=True)
class Readout:
    """finished[k]: how many questions had taken all their forwards after k; they keep their last value. right, wrong:
    of those whose proposal was; None for a cold start. k = 0 is what an init put on the canvas, before any forward."""

    all: Curve
    right: Curve | None
    wrong: Curve | None
    finished: tuple[int, ...]


def readout(rows: list[dict[str, Any]], accuracy: str) -> Readout | None:
    """From records; None where one does not say (records of an earlier version)."""
    if not rows or not all("correct_after" in r for r in rows):
        return None
    last = max(r["nfe"] for r in rows)
    steps = [r["correct_after"][accuracy] for r in rows]
    proposals = [r.get("proposal") or {} for r in rows]
    parts: list[Curve | None] = [None, None]
    if all(f"correct_{accuracy}" in p for p in proposals):
        sides = [bool(p[f"correct_{accuracy}"]) for p in proposals]
        parts = [
            _curve([s for s, side in zip(steps, sides, strict=True) if side is wanted], last)
            for wanted in (True, False)
        ]
    finished = np.bincount([r["nfe"] for r in rows], minlength=last + 1).cumsum()
    return Readout(_curve(steps, last), *parts, tuple(finished.tolist()))


def _curve(steps: list[list[list]], last: int) -> Curve:
    """From each question's changes [[forwards, right], …], the first one at 0 forwards."""
    change = np.zeros(last + 1, dtype=int)
    for changes in steps:
        right = False
        for forwards, now in changes:
            change[forwards] += int(now) - int(right)
            right = now
    return Curve(len(steps), tuple(change.cumsum().tolist()))
