"""Where every question stands: told to the host in one read per forward, and moved on to its next block there.

What decides which positions a forward computes (a cache policy) and which hidden states go through the head is decided here on the host,
from this one read; everything between two reads is queued without waiting for anything. On the host it is all NumPy, whose operations on
small arrays take a fraction of what torch's take to be dispatched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from warmexp.decode.state import DECODED, FIXED, INJECTED, Canvas
from warmexp.models.wanted import download, upload

if TYPE_CHECKING:
    from warmexp.decode.strategy import Strategies
    from warmexp.models.backbone import Backbone

Fetch = Callable[[Sequence[Tensor]], list[Tensor]]
# A remask policy that never stops firing would never finish a block: after this many forwards per position of a block the loop
# stops listening to it (the published rates reach zero long before).
REMASK_CAP = 4


@dataclass(frozen=True)
class Row:
    """One question before its next forward. Positions are counted in its row, prompt first.

    start, end: its block, start included. length: prompt and canvas. previous: where the block of its last forward began.
    visits: forwards run in this block so far; forwards: run for the question; age: run since the last full one, itself included.
    shifted: the hidden state at i-1 predicts token i. revoked: a token that the last full forward read has been revoked since.
    faded: right of the block is a prior whose weight has changed since the last full forward. mixed: a prior is mixed in now.
    masked, revocable: [W] bool, of the block: eligible for a commit, and for a revocation. ids: [L] the canvas, None where no anchor asks.
    """

    start: int
    end: int
    length: int
    previous: int
    visits: int
    forwards: int
    age: int
    shifted: bool
    revoked: bool
    faded: bool
    mixed: bool
    masked: np.ndarray
    revocable: np.ndarray
    ids: np.ndarray | None = None


@dataclass(frozen=True)
class Span:
    """The positions of a row that a forward computes, start … end-1; keys and values of all others are those that were kept.

    0 … row.length is a full forward. first_only: nothing but the block's first position may be committed by it.
    """

    start: int
    end: int
    first_only: bool = False

    def covers(self, row: Row) -> bool:
        return self.end - self.start == row.length

    def eligible(self, row: Row) -> tuple[np.ndarray, np.ndarray]:
        """[W] bool each: what is masked and what is revocable, as far as this forward reads it and may change it."""
        unread = max(0, self.start + row.shifted - row.start)
        if not unread and not self.first_only:
            return row.masked, row.revocable
        masked, revocable = row.masked.copy(), row.revocable.copy()
        masked[:unread] = revocable[:unread] = False
        if self.first_only:
            masked[1:] = False
        return masked, revocable


@dataclass(frozen=True)
class Told:
    """A canvas on the host: fields [B] or [B, L] of the canvas, and [B, L] bool each, None where nobody asks: mixed, a prior is mixed in
    now; changed, one whose weight is not that of the last full forward; ends, an end token stands there; and ids [B, L] long."""

    masked: np.ndarray
    source: np.ndarray
    seen: np.ndarray
    block: np.ndarray
    visits: np.ndarray
    forwards: np.ndarray
    read_in: np.ndarray
    age: np.ndarray
    mixed: np.ndarray | None = None
    changed: np.ndarray | None = None
    ends: np.ndarray | None = None
    ids: np.ndarray | None = None

    @classmethod
    def of(cls, canvas: Canvas, s: Strategies, end_ids: tuple[int, ...], fetch: Fetch) -> Told:
        """The one read."""
        wide = {"masked": canvas.masked, "source": canvas.source, "seen": canvas.seen}
        weight = s.init.soft_weight(canvas.forwards)
        if weight is not None:
            mixture = canvas.mixture(weight)
            wide |= {"mixed": mixture > 0, "changed": canvas.soft & canvas.masked & (mixture != canvas.fed)}
        if s.length.stops_at_end:
            wide["ends"] = reduce(torch.logical_or, [canvas.ids == end for end in end_ids])
        if s.anchor.moves:
            wide["ids"] = canvas.ids
        narrow = {name: getattr(canvas, name) for name in ("block", "visits", "forwards", "read_in", "age")}
        both = wide | narrow
        return cls(**{name: value.numpy() for name, value in zip(both, fetch(list(both.values())), strict=True)})


def stand(canvas: Canvas, s: Strategies, backbone: Backbone, fetch: Fetch = download) -> list[Row | None]:
    """Move the cursors; the rows as they stand now, None for those that are finished. fetch: what reads tensors from the device."""
    told = Told.of(canvas, s, backbone.end_ids, fetch)
    revocable = _revocable(told, s)
    live, block = _advance(told, revocable, canvas.block_length, s)
    visits = told.visits
    if (block != told.block).any():
        visits = np.where(block == told.block, visits, 0)
        canvas.visits, canvas.block = upload(visits, canvas.ids.device), upload(block, canvas.ids.device)
    if told.ends is not None:
        live &= ~_ended(told, block * canvas.block_length, s)
    if revocable.any():
        revocable &= (_may_fire(s, visits) & (visits < REMASK_CAP * canvas.block_length))[:, None]
    revoked = (told.seen & told.masked).any(1)
    faded, mixed = _prior(told, (block + 1) * canvas.block_length)
    flags = np.stack((revoked, faded, mixed), 1).tolist()
    cursors = np.stack((block, visits, told.read_in, told.forwards, told.age), 1).tolist()
    shifted = bool(backbone.shift)
    return [_row(canvas, told, revocable[i], i, cursors[i], flags[i], shifted) if live[i] else None for i in range(len(live))]


def _prior(told: Told, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[B] bool each: Row.faded and Row.mixed. end: [B], where the block ends."""
    if told.mixed is None:
        return np.zeros_like(end, dtype=bool), np.zeros_like(end, dtype=bool)
    right = np.arange(told.masked.shape[1]) >= end[:, None]
    return (told.changed & right).any(1), told.mixed.any(1)


def _row(canvas: Canvas, told: Told, revocable: np.ndarray, i: int, cursors: list[int], flags: list[bool], shifted: bool) -> Row:
    block, visits, read_in, forwards, age = cursors
    revoked, faded, mixed = flags
    prompt, width = len(canvas.questions[i].prompt), canvas.block_length
    first = block * width
    return Row(
        start=prompt + first,
        end=prompt + first + width,
        length=prompt + canvas.ids.shape[1],
        previous=prompt + read_in * width,
        visits=visits,
        forwards=forwards,
        age=age,
        shifted=shifted,
        revoked=revoked,
        faded=faded,
        mixed=mixed,
        masked=told.masked[i, first : first + width],
        revocable=revocable[first : first + width],
        ids=None if told.ids is None else told.ids[i],
    )


def _revocable(told: Told, s: Strategies) -> np.ndarray:
    return s.remask.candidates(torch.from_numpy(told.source)).numpy() & (told.source != FIXED) & ~told.masked


def _may_fire(s: Strategies, visits: np.ndarray) -> np.ndarray:
    return s.remask.may_fire(torch.from_numpy(visits)).numpy()


def _advance(told: Told, revocable: np.ndarray, width: int, s: Strategies) -> tuple[np.ndarray, np.ndarray]:
    """Each row's cursor moved over blocks that are done: [B] bool, False for finished rows, and [B] blocks.

    A block is done when it holds no mask and the remask policy has had one look at what was injected there.
    """
    index = np.arange(told.masked.shape[1] // width)
    here = told.block[:, None]
    todo = _by_block(told.masked, width)
    if revocable.any():
        unseen = (index > here) | (told.visits == 0)[:, None]
        todo |= _by_block(revocable, width) & unseen & _may_fire(s, np.zeros_like(told.visits))[:, None]
    todo &= index >= here
    live = todo.any(1)
    return live, np.where(live, todo.argmax(1), len(index) - 1)


def _by_block(where: np.ndarray, width: int) -> np.ndarray:
    """[B, L] bool -> [B, L / width]: anywhere in the block."""
    return where.reshape(len(where), -1, width).any(2)


def _ended(told: Told, start: np.ndarray, s: Strategies) -> np.ndarray:
    """[B] bool: an end token stands where nothing up to it can change any more. start: [B], of the row's block."""
    if s.remask.candidates(torch.tensor([INJECTED, DECODED])).any():
        final = np.arange(told.masked.shape[1]) < start[:, None]  # the blocks that have been left
    else:
        final = told.masked.cumsum(1) == 0
    return (told.ends & final).any(1)
