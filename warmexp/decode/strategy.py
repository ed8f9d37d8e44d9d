"""The seams of the loop: one base class for each kind of strategy, with every attribute and hook and its default.

A strategy is a short dataclass whose fields are its YAML group's keys; it inherits from one of these classes and says what differs. It is
a pure function of what it is given and of keyed draws, and keeps no state between calls, so one instance serves every question of a run.
Nothing is found out by looking: what a class does not say is what its base class says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from warmexp.decode.reading import Block, Reading
from warmexp.decode.rows import Row, Span
from warmexp.decode.state import DECODED, INJECTED, Question, Start
from warmexp.errors import UserError


@dataclass(frozen=True)
class Setup:
    """What a run is composed of, for the checks of its methods.

    parts: the object of every group. names: the option chosen in it. options: those that a group has.
    """

    parts: Mapping[str, Any]
    names: Mapping[str, str]
    options: Callable[[str], Sequence[str]]

    def said(self, group: str) -> str:
        """How a user writes what was chosen."""
        return f"{group}={self.names[group]}"


class Strategy:
    """What all kinds have in common.

    curve: the field along which a front draws an unmasking policy's curve, or None. symbols: the fields that a label shows, each with
    the sign that is written for it.
    """

    curve: str | None = None
    symbols: Mapping[str, str] = MappingProxyType({})

    def shown(self) -> str:
        """What labels say of it besides its name, such as `ρ=0.5`."""
        return " ".join(f"{sign}={vars(self)[name]:.4g}" for name, sign in self.symbols.items())

    def check(self, setup: Setup) -> None:
        """Raise a UserError, in one sentence with a remedy, where this cannot be combined with what else was chosen."""

    def vacuous(self, setup: Setup) -> str | None:
        """A sentence, where this could never do anything beside what else was chosen."""
        return None


class Init(Strategy):
    """How a canvas starts.

    reads_proposal: whether a proposer has to run at all. injects: whether it writes revocable tokens. verifies: whether what it injects is
    first read by the backbone; then it has `score` (one of decode/verify.SCORES) and `keep`. needs_tail: what has to follow a proposal
    (proposer.tail), or None. tells: whether it puts the proposal into the prompt. by_entropy: whether the weight of a prior's embedding is
    scaled by the backbone's entropy where it last read the position. norm: `match` gives mixtures the length of the mask's embedding.
    """

    reads_proposal: bool = False
    injects: bool = False
    verifies: bool = False
    needs_tail: str | None = None
    tells: bool = False
    by_entropy: bool = False
    norm: str = "none"
    score: str = "visible"

    def start(self, question: Question, length: int, seed: int) -> Start:
        """One question's canvas of `length` positions."""
        raise NotImplementedError

    def soft_weight(self, forwards: Tensor) -> Tensor | None:
        """[B] float64 weight of the prior's embedding after `forwards` [B] forwards, or None if this init mixes no embeddings."""
        return None

    def keep(self, score: Tensor, trust: Tensor, injected: Tensor) -> Tensor:
        """[B, L] bool, which injected tokens stay. score, trust: [B, L] float64, the backbone's and the author's word where injected."""
        return injected

    def told(self, turns: Sequence[str], proposal: str) -> tuple[str, ...]:
        """A conversation, the user's turn last, with the proposal's text told in it; asked of an init that `tells`."""
        return tuple(turns)

    def longer(self, tokenizer: Any, canvas_length: int) -> int:
        """How many tokens a prompt may grow by."""
        return 0

    def check(self, setup: Setup) -> None:
        proposer = setup.parts["proposer"]
        if self.reads_proposal and not proposer.proposes:
            others = ", ".join(name for name in setup.options("proposer") if name != setup.names["proposer"])
            raise UserError(f"{setup.said('init')} needs a proposal but {setup.said('proposer')}: choose proposer={others}.")
        if self.needs_tail and proposer.tail != self.needs_tail:
            raise UserError(
                f"{setup.said('init')} uses what follows a proposal: set proposer.tail={self.needs_tail} (it is {proposer.tail})."
            )


class Unmask(Strategy):
    """Which masked positions a forward commits.

    temperature: of the proposed tokens; confidence is untempered. reads_logits: whether it reads a reading's logits. reads_prior: whether
    it has no use without a proposal.
    """

    temperature: float = 0.0
    reads_logits: bool = False
    reads_prior: bool = False

    def adjust(self, block: Block, reading: Reading) -> Reading:
        """The reading with other tokens and confidences in the place of the backbone's."""
        return reading

    def select(self, block: Block, reading: Reading) -> Tensor:
        """[B, W] bool, which masked positions to commit. The loop adds the most confident one where a row selects none."""
        raise NotImplementedError

    def check(self, setup: Setup) -> None:
        if self.reads_prior and not setup.parts["init"].reads_proposal:
            raise UserError(
                f"{setup.said('unmask')} compares with a proposal and {setup.said('init')} reads none:"
                " choose init=token_inject rho=0 for a cold canvas, or unmask=threshold."
            )


class Remask(Strategy):
    """Which visible positions a forward revokes.

    reads_logits: as above. shadows: whether revocable tokens are to be read from masked queries that do not see them (models/shadow.py).
    scope: what may be revoked, `injected` tokens, `decoded` ones, `all`, or `none`.
    """

    reads_logits: bool = False
    shadows: bool = False
    scope: str = "none"

    def candidates(self, source: Tensor) -> Tensor:
        """Which visible positions may be revoked, given where their tokens came from. Same shape, bool."""
        return in_scope(source, self.scope)

    def may_fire(self, visits: Tensor) -> Tensor:
        """[B] bool, whether anything can be revoked in the (visits+1)-th forward of a block."""
        return torch.ones_like(visits, dtype=torch.bool)

    def select(self, block: Block, reading: Reading, commit: Tensor) -> Tensor:
        """[B, W] bool, which revocable positions to put the mask back to. commit: [B, W] bool, what the same forward commits."""
        raise NotImplementedError

    def check(self, setup: Setup) -> None:
        if self.shadows and setup.parts["cache"].keeps:
            raise UserError(
                f"remask.score=shadow reads tokens from masks beside the row, for which {setup.said('cache')} keeps no place:"
                " choose cache=none, or remask.score=visible."
            )

    def vacuous(self, setup: Setup) -> str | None:
        if self.scope != "injected" or setup.parts["init"].injects:
            return None
        return (
            f"{setup.said('remask')} with remask.scope=injected revokes injected tokens and {setup.said('init')} injects none:"
            " choose remask.scope=decoded, or remask=none."
        )


def in_scope(source: Tensor, scope: str) -> Tensor:
    """Where the token came from what `scope` names. Same shape, bool."""
    if scope == "injected":
        return source == INJECTED
    if scope == "decoded":
        return source == DECODED
    return (source == INJECTED) | (source == DECODED) if scope == "all" else torch.zeros_like(source, dtype=torch.bool)


class Cache(Strategy):
    """Which positions a forward computes. keeps: whether keys and values are kept from one forward to the next at all."""

    keeps: bool = False

    def span(self, row: Row) -> Span:
        """Which positions of a row the next forward computes. A row that needs a full one gets it before the others go on."""
        return Span(0, row.length)


class Length(Strategy):
    """How long a canvas is and where decoding stops: has canvas_length and block_length, in tokens.

    stops_at_end: whether a question is finished when everything up to an end token is final.
    """

    canvas_length: int
    block_length: int
    stops_at_end: bool = False


class Anchor(Strategy):
    """Where a proposal stands as decoding goes on.

    moves: whether it ever does anything. verify: how often an init that verifies may read a moved proposal.
    """

    moves: bool = False
    verify: int = 0

    def moved(self, question: Question, decoded: Sequence[int], block_length: int) -> Question:
        """A question that enters a block, before which `decoded` stands, with the proposal that now stands for it; its first tokens are
        `decoded`. The init then makes of what follows them what it makes of any proposal."""
        return question

    def check(self, setup: Setup) -> None:
        if self.moves and not setup.parts["init"].reads_proposal:
            raise UserError(
                f"{setup.said('anchor')} moves a proposal and {setup.said('init')} reads none: choose anchor=none, or another init."
            )


# The class that a group's classes derive from.
BASES: dict[str, type[Strategy]] = {
    "init": Init,
    "unmask": Unmask,
    "remask": Remask,
    "cache": Cache,
    "length": Length,
    "anchor": Anchor,
}


@dataclass(frozen=True)
class Strategies:
    """One of each: a decoding method."""

    init: Init
    unmask: Unmask
    remask: Remask
    cache: Cache
    length: Length
    anchor: Anchor

    @property
    def reads_logits(self) -> bool:
        """Whether a policy or the init needs more than the most probable tokens, the sitting ones and their probabilities."""
        return self.unmask.temperature > 0 or self.init.by_entropy or self.unmask.reads_logits or self.remask.reads_logits
