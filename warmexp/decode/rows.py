"""Where every question stands: moved on to its next block on the device, then told to the host in one read per forward.

What decides which positions a forward computes (a cache policy) and which hidden states go through the head is decided here on the host,
from this one read; everything between two reads is queued without waiting for anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from warmexp.decode.state import DECODED, FIXED, INJECTED, Canvas

if TYPE_CHECKING:
    from warmexp.backbone.backbone import Backbone
    from warmexp.decode.strategy import Strategies

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
    masked, revocable: [W] bool, of the block: eligible for a commit, and for a revocation.
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
        read = np.arange(row.start, row.end) - row.shifted >= self.start
        masked = row.masked & read
        if self.first_only:
            masked[1:] = False
        return masked, row.revocable & read


def stand(canvas: Canvas, s: Strategies, backbone: Backbone) -> list[Row | None]:
    """Move the cursors; the rows as they stand now, None for those that are finished."""
    live = _advance(canvas, s)
    if s.length.stops_at_end:
        live &= ~_ended(canvas, s, backbone.end_ids)
    masked = canvas.masked
    window = canvas.window
    listen = s.remask.may_fire(canvas.visits) & (canvas.visits < REMASK_CAP * canvas.block_length)
    revocable = _revocable(canvas, s).gather(1, window) & listen[:, None]
    mixture = canvas.mixture(s.init.soft_weight(canvas.forwards))
    right = torch.arange(masked.shape[1], device=masked.device) > window[:, -1:]
    numbers = (
        live,
        canvas.block,
        canvas.read_in,
        canvas.visits,
        canvas.forwards,
        canvas.age,
        (canvas.seen & masked).any(1),
        (canvas.soft & masked & right & (mixture != canvas.fed)).any(1),
        (mixture > 0).any(1),
    )
    told = torch.cat((torch.stack([n.long() for n in numbers], 1), masked.gather(1, window).long(), revocable.long()), 1)
    return [_row(canvas, i, line, len(numbers), bool(backbone.shift)) for i, line in enumerate(told.cpu().numpy())]


def _row(canvas: Canvas, i: int, line: np.ndarray, n: int, shifted: bool) -> Row | None:
    live, block, read_in, visits, forwards, age, revoked, faded, mixed = line[:n].tolist()
    if not live:
        return None
    masked, revocable = np.split(line[n:].astype(bool), 2)
    prompt, width = len(canvas.questions[i].prompt), canvas.block_length
    start = prompt + block * width
    return Row(
        start=start,
        end=start + width,
        length=prompt + canvas.ids.shape[1],
        previous=prompt + read_in * width,
        visits=visits,
        forwards=forwards,
        age=age,
        shifted=shifted,
        revoked=bool(revoked),
        faded=bool(faded),
        mixed=bool(mixed),
        masked=masked,
        revocable=revocable,
    )


def _revocable(canvas: Canvas, s: Strategies) -> Tensor:
    return s.remask.candidates(canvas.source) & (canvas.source != FIXED) & ~canvas.masked


def _advance(canvas: Canvas, s: Strategies) -> Tensor:
    """Move each row's cursor over blocks that are done; returns [B] bool, False for finished rows.

    A block is done when it holds no mask and the remask policy has had one look at what was injected there.
    """
    blocks = canvas.ids.shape[1] // canvas.block_length
    masked = canvas.masked.unflatten(1, (blocks, -1)).any(-1)
    revocable = _revocable(canvas, s).unflatten(1, (blocks, -1)).any(-1)
    index = torch.arange(blocks, device=canvas.ids.device)
    here = canvas.block[:, None]
    unseen = revocable & s.remask.may_fire(torch.zeros_like(canvas.visits))[:, None] & ((index > here) | (canvas.visits == 0)[:, None])
    todo = (masked | unseen) & (index >= here)
    live = todo.any(-1)
    target = torch.where(live, todo.int().argmax(-1), blocks - 1)
    canvas.visits = torch.where(target == canvas.block, canvas.visits, 0)
    canvas.block = target
    return live


def _ended(canvas: Canvas, s: Strategies, end_ids: tuple[int, ...]) -> Tensor:
    """[B] bool: an end token stands where nothing up to it can change any more."""
    ends = torch.isin(canvas.ids, torch.tensor(end_ids, device=canvas.ids.device))
    if s.remask.candidates(torch.tensor([INJECTED, DECODED])).any():
        final = torch.arange(ends.shape[1], device=ends.device) < canvas.window[:, :1]  # the blocks that have been left
    else:
        final = canvas.masked.cumsum(1) == 0
    return (ends & final).any(1)
