"""The seams of the loop: what each kind of strategy sees and returns.

A strategy is a short dataclass whose fields are its YAML group's keys. It is a pure function of what it is given and of keyed draws;
it keeps no state between calls, so one instance serves every question of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from warmexp.decode.reading import Block, Reading
from warmexp.decode.rows import Row, Span
from warmexp.decode.state import Question, Start
from warmexp.methods.anchor.none import NoAnchor


class Init(Protocol):
    reads_proposal: bool  # whether a proposer has to run at all
    injects: bool  # whether it writes revocable tokens

    def start(self, question: Question, length: int, seed: int) -> Start:
        """One question's canvas of `length` positions."""

    def soft_weight(self, forwards: Tensor) -> Tensor | None:
        """[B] weight of the prior's embedding after `forwards` [B] forwards, or None if this init mixes no embeddings.

        One that does has `by_entropy` (whether the weight of a position is also scaled by the backbone's entropy there) and `norm`
        (`match`: mixtures are as long as the mask's embedding)."""


class Unmask(Protocol):
    """One that has `adjust(block, reading) -> Reading` as well may put other tokens and confidences in the place of the backbone's."""

    temperature: float  # of the proposed tokens; confidence is untempered
    reads_logits: bool  # whether it reads a reading's logits; a class that does not itself say False gets them

    def select(self, block: Block, reading: Reading) -> Tensor:
        """[B, W] bool, which masked positions to commit. The loop adds the best one where a row selects none."""


class Remask(Protocol):
    reads_logits: bool  # as above
    shadows: bool  # whether revocable tokens are to be read from masked queries that do not see them (models/shadow.py)

    def candidates(self, source: Tensor) -> Tensor:
        """Which visible positions may be revoked, given where their tokens came from. Same shape, bool."""

    def may_fire(self, visits: Tensor) -> Tensor:
        """[B] bool, whether anything can be revoked in the (visits+1)-th forward of a block."""

    def select(self, block: Block, reading: Reading, commit: Tensor) -> Tensor:
        """[B, W] bool, which revocable positions to put the mask back to. commit: [B, W] bool, what the same forward commits."""


class Cache(Protocol):
    keeps: bool  # whether keys and values are kept from one forward to the next at all

    def span(self, row: Row) -> Span:
        """Which positions of a row the next forward computes. A row that needs a full one gets it before the others go on."""


class Length(Protocol):
    canvas_length: int
    block_length: int
    stops_at_end: bool  # whether a question is finished when everything up to an end token is final


class Anchor(Protocol):
    moves: bool  # whether it ever does anything
    verify: int  # how often an init that verifies may read a moved proposal

    def moved(self, question: Question, decoded: Sequence[int], block_length: int) -> Question:
        """A question that enters a block, before which `decoded` stands, with the proposal that now stands for it; its first tokens are
        `decoded`. The init then makes of what follows them what it makes of any proposal."""


@dataclass(frozen=True)
class Strategies:
    """One of each: a decoding method."""

    init: Init
    unmask: Unmask
    remask: Remask
    cache: Cache
    length: Length
    anchor: Anchor = field(default_factory=NoAnchor)

    @property
    def reads_logits(self) -> bool:
        """Whether a policy or the init needs more than the most probable tokens, the sitting ones and their probabilities."""
        said = (vars(type(policy)).get("reads_logits", True) for policy in (self.unmask, self.remask))  # a base class says nothing
        return self.unmask.temperature > 0 or getattr(self.init, "by_entropy", False) or any(said)
