"""Where two decoders part, and how close the decision was that parted them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from warmexp.bench.plain import Answer


@dataclass(frozen=True)
class Divergence:
    """iteration: the first forward whose commits differ. positions: the response positions that differ in it. margin: how far the plain
    decoder was from deciding as the other did, as a probability (or a logit, where the two took different tokens); infinite where the
    other committed a position that was not even eligible. A margin of rounding's size is a tie, anything else is a defect."""

    question: str
    iteration: int
    positions: tuple[int, ...]
    margin: float


def divergence(question: str, plain: Answer, ids: Sequence[int], commit_iteration: Sequence[int], tau: float) -> Divergence | None:
    """None if both committed the same tokens in the same forwards. plain: traced."""
    when = commit_iteration
    differing = [i for i in range(len(ids)) if (ids[i], when[i]) != (plain.ids[i], plain.commit_iteration[i])]
    if not differing:
        return None
    n = min(min(when[i], plain.commit_iteration[i]) for i in differing)
    positions = [i for i in differing if n in (when[i], plain.commit_iteration[i])]
    return Divergence(question, n, tuple(positions), _margin(plain, when, n, positions, tau))


def _margin(plain: Answer, when: Sequence[int], n: int, positions: list[int], tau: float) -> float:
    seen = plain.seen[n] if n < len(plain.seen) else {}
    if any(i not in seen for i in positions):
        return math.inf
    both = [i for i in positions if when[i] == plain.commit_iteration[i]]
    if both:  # the same positions, other tokens
        return max(seen[i][1] for i in both)
    theirs = [seen[i][0] for i in positions if when[i] == n]
    mine = [seen[i][0] for i in positions if when[i] != n]
    to_tau = max(abs(c - tau) for c in theirs + mine)
    # One for another: the order of two confidences, or of one of them and τ.
    return min(to_tau, max(mine) - min(theirs)) if mine and theirs else to_tau
