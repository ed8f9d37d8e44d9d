"""Re-anchoring: where decoding says the same in more or fewer tokens, the rest of a proposal is moved to where it
belongs.

A proposal that is right but for one word more stands a slot beside everything that the backbone would write. The tokens
that were decoded last are looked up in it by edit distance (approximate matching: P. Sellers, "The theory and
computation of evolutionary distances", J. Algorithms 1, 1980), and what follows them there is what is proposed to
follow them here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from warmexp.decode.canvas import Question
from warmexp.decode.strategy import Anchor
from warmexp.errors import check_range


@dataclass
class EditAnchor(Anchor):
    """When a question enters a block at s: x̂_{s+k} ← x̂_{j+k}, trust along, where j minimises δ(j), |s - j| ≤ reach;
    nothing if no δ(j) ≤ within.

    δ(j) is the edit distance of the last `window` tokens before s to the nearest stretch of the proposal that ends
    before j, over their number; of equal ones the j nearest to s wins. So 1 - δ is the share of what was decoded last
    that the proposal said too. The init then treats the moved proposal as it treated the first, from s on: what it had
    injected or mixed in there before is taken back.

    window: tokens, ≥ 1. within: the largest δ of an anchor, in [0, 1]. reach: the most slots that a proposal is moved;
    0 leaves it where it is, and only asks whether it still deserves to stand there. abort: a question that found no
    anchor once has no proposal from then on. verify: how often an init that verifies may read a proposal again that has
    moved, at one forward (init.score=halves: two) each, ≥ 0; of one that it may not read again, nothing is injected.
    """

    window: int = 16
    within: float = 0.4
    reach: int = 16
    abort: bool = True
    verify: int = 1
    moves = True

    def __post_init__(self) -> None:
        check_range(
            "anchor.window", self.window, 1, 2**20, "the number of decoded tokens that are looked up in the proposal"
        )
        check_range("anchor.within", self.within, 0, 1, "the share of them that may be missing there")
        check_range("anchor.reach", self.reach, 0, 2**20, "the most slots that a proposal is moved")
        check_range("anchor.verify", self.verify, 0, 2**20, "how often a moved proposal may be verified")

    def moved(self, question: Question, decoded: Sequence[int], width: int) -> Question:
        """The question with the proposal that now stands for it.

        Args:
            decoded: the tokens of its canvas before the window that it enters. width: so that every entry so far is
            found.
        """
        if self.abort:
            before = range(width, len(decoded), width)
            if any(self._anchor(question.proposal, decoded[:s]) is None for s in before):
                return laid(question, decoded, None)
        return laid(question, decoded, self._anchor(question.proposal, decoded))

    def _anchor(self, proposal: Sequence[int], decoded: Sequence[int]) -> int | None:
        """j, or None."""
        found = decoded[-self.window :]
        s, distances = len(decoded), ends(found, proposal)
        distance, _, j = min(
            ((d, abs(s - j), j) for j, d in enumerate(distances) if abs(s - j) <= self.reach), default=(1e9, 0, 0)
        )
        return j if distance <= self.within * len(found) else None


def ends(found: Sequence[int], text: Sequence[int]) -> list[int]:
    """For j = 0 … len(text): the least edit distance of `found` to a stretch of `text` that ends before j (an empty one
    included)."""
    row = [0] * (len(text) + 1)
    for i, token in enumerate(found, 1):
        left = [i]
        for j, other in enumerate(text, 1):
            left.append(min(row[j - 1] + (token != other), row[j] + 1, left[j - 1] + 1))
        row = left
    return row


def laid(question: Question, decoded: Sequence[int], j: int | None) -> Question:
    """The question with what is decoded and, behind it, its proposal from j on (None: nothing of it). What follows the
    proposal's text, if anything, goes on to where it ended before. Nothing of a question without a proposal changes."""
    s, n = len(decoded), len(question.proposal)
    if not n:
        return question
    if j is None:
        rest: list[int] = []
    elif n > question.written:
        rest = [min(i, n - 1) for i in range(j, j + n - s)]
    else:
        rest = list(range(j, n))
    slots = [min(i, n - 1) for i in range(s)] + rest
    return replace(
        question,
        proposal=(*decoded, *(question.proposal[i] for i in rest)),
        trust=tuple(question.trust[i] for i in slots) if question.trust else (),
        numeric=tuple(question.numeric[i] for i in slots) if question.numeric else (),
        likely=tuple(question.likely[i] for i in slots) if question.likely else (),
        written=s + max(0, question.written - (j or 0)) if rest else s,
    )
