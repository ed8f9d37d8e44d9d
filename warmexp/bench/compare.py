"""Where two decoders part, and how close the decision was that parted them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from warmexp.bench.plain import Answer, Rule


@dataclass(frozen=True)
class Divergence:
    """iteration: the first forward whose commits differ. positions: the response positions that differ in it. margin:
    how far the plain decoder was from deciding as the other did: as a probability where they committed different
    positions, as a logit where they took different tokens; infinite where the other committed a position that was not
    even eligible. A margin of rounding's size is a tie, anything else is a defect."""

    question: str
    iteration: int
    positions: tuple[int, ...]
    margin: float


def divergence(question: str, plain: Answer, ids: Sequence[int], when: Sequence[int], rule: Rule) -> Divergence | None:
    """None if both committed the same tokens in the same forwards.

    Args:
        plain: traced. ids, when: the other's tokens and the forwards that committed them.
    """
    pairs = list(zip(ids, when, plain.ids, plain.commit_iteration, strict=True))
    differing = [i for i, (token, n, other, m) in enumerate(pairs) if (token, n) != (other, m)]
    if not differing:
        return None
    first = min(min(pairs[i][1], pairs[i][3]) for i in differing)
    positions = [i for i in differing if first in (pairs[i][1], pairs[i][3])]
    return Divergence(question, first, tuple(positions), _margin(plain, when, first, positions, rule))


def _margin(plain: Answer, when: Sequence[int], n: int, positions: list[int], rule: Rule) -> float:
    seen = plain.seen[n] if n < len(plain.seen) else {}
    if any(i not in seen for i in positions):
        return math.inf
    same = [i for i in positions if when[i] == plain.commit_iteration[i]]
    if same:  # the same positions, other tokens
        return max(seen[i][1] for i in same)
    theirs = [seen[i][0] for i in positions if when[i] == n]
    mine = [seen[i][0] for i in positions if when[i] != n]
    # One position for another: the order of two confidences. One more or one less: τ.
    swapped = abs(max(mine) - min(theirs)) if mine and theirs else math.inf
    to_tau = max(abs(c - rule.tau) for c in theirs + mine) if rule.steps is None else math.inf
    return min(to_tau, swapped)
