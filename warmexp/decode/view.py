"""The one thing that strategies see: the windows of n questions as read-only arrays, before their next forward."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from warmexp.decode.canvas import Canvas
from warmexp.models.wanted import upload
from warmexp.rng import bits, uniform


@dataclass(frozen=True)
class Span:
    """The positions that a forward computes in each of n rows, start … end-1, counted prompt first; keys and values of
    all others are those that were kept. first_only: nothing but the block's first position may be committed by it.
    silent: nothing is read, it is for the keys and values alone; None: no row. All [n]; int64, int64, bool, bool.

    Or a set of positions, where `chosen` is one, [n, T] bool for T positions of the longest row, prompt first; start
    and end then are those of the whole row. seen: [n, T] bool, which positions are attended to; None: all of the row.
    eligible: [n, T] bool, which may be committed or revised; None: all that is read.
    """

    start: np.ndarray
    end: np.ndarray
    first_only: np.ndarray
    silent: np.ndarray | None = None
    chosen: np.ndarray | None = None
    seen: np.ndarray | None = None
    eligible: np.ndarray | None = None

    @classmethod
    def of(cls, start: Any, end: Any, rows: int, first_only: Any = False) -> Span:
        """From arrays or numbers."""
        return cls(*(np.array(np.broadcast_to(value, (rows,))) for value in (start, end, first_only)))

    @classmethod
    def of_set(
        cls, view: View, chosen: np.ndarray, seen: np.ndarray | None = None, eligible: np.ndarray | None = None
    ) -> Span:
        """Of positions anywhere in the rows, [n, T] bool each."""
        return replace(cls.of(0, view.row_length, len(view.rows)), chosen=chosen, seen=seen, eligible=eligible)

    @property
    def count(self) -> np.ndarray:
        """[n] int64, how many positions are computed."""
        return self.end - self.start if self.chosen is None else self.chosen.sum(1)

    def take(self, index: np.ndarray) -> Span:
        optional = self.silent, self.chosen, self.seen, self.eligible
        return Span(
            self.start[index],
            self.end[index],
            self.first_only[index],
            *(None if value is None else value[index] for value in optional),
        )


@dataclass(frozen=True)
class View:
    """n questions and their windows of W positions. Arrays are [n, W] unless said otherwise, and must not be written
    to.

    rows: [n] int64, where they stand on the canvas. masked: bool, masked positions that the forward may commit.
    revocable: bool, visible ones that it may revoke or replace. shift: 1 where the hidden state at i-1 predicts token
    i, else 0. seed: of the run. mixture: [n, L] float64, the share of the prior's embedding in each input; None where
    there is none. full: whether every position is computed; False before the cache has been asked. lane, laid: of a
    view of candidates (decode/lanes.py), [n] int64, which of its question's each is, 0 for the canvas as it is, and
    [n, L] bool, where something was laid; else None.
    """

    canvas: Canvas = field(repr=False)
    rows: np.ndarray
    masked: np.ndarray
    revocable: np.ndarray
    shift: int
    seed: int
    mixture: np.ndarray | None = None
    full: bool = False
    lane: np.ndarray | None = None
    laid: np.ndarray | None = None

    @property
    def candidates(self) -> np.ndarray:
        """[n] int64, `lane`, of a view of candidates."""
        if self.lane is None:
            raise ValueError("these rows are questions, not candidates")
        return self.lane

    def anew(self, span: Span) -> np.ndarray:
        """[n] bool, of which rows everything is computed that anything in the window sees."""
        if not self.canvas.attention_block:
            return span.count == self.row_length
        return (span.start == 0) & (span.end >= self.last)

    def ahead(self, span: Span) -> np.ndarray:
        """[n] bool, of which rows nothing but what stands before the window's block is computed."""
        return span.end < self.last

    def take(self, index: np.ndarray) -> View:
        """Some of its rows."""
        given = self.mixture, self.lane, self.laid
        mixture, lane, laid = (None if value is None else value[index] for value in given)
        rows, masked, revocable = self.rows[index], self.masked[index], self.revocable[index]
        return replace(self, rows=rows, masked=masked, revocable=revocable, mixture=mixture, lane=lane, laid=laid)

    def with_mixture(self, mixture: np.ndarray | None) -> View:
        """With the shares of the prior's embeddings."""
        return self if mixture is None else self._with(mixture=mixture)

    def within(self, span: Span) -> View:
        """Eligible is only what the forward reads: not what stands before or behind its span, nor what it may not
        commit."""
        full = bool((span.count == self.row_length).all())
        width = self.masked.shape[1]
        if span.chosen is not None:
            read = self._of_window(span.chosen, self.shift)
            if span.eligible is not None:
                read &= self._of_window(span.eligible)
            return self._with(masked=self.masked & read, revocable=self.revocable & read, full=full)
        unread, until = (place + self.shift - self.first for place in (span.start, span.end))
        if span.silent is None and not span.first_only.any() and (unread <= 0).all() and (until >= width).all():
            return self._with(full=full)
        column = np.arange(width)
        read = (column >= unread[:, None]) & (column < until[:, None])
        if span.silent is not None:
            read &= ~span.silent[:, None]
        free = ~span.first_only[:, None] | (column == self.lead[:, None])
        return self._with(masked=self.masked & read & free, revocable=self.revocable & read, full=full)

    def _of_window(self, where: np.ndarray, before: int = 0) -> np.ndarray:
        """[n, W] of [n, T], prompt first; before: so many positions on the left of the window's."""
        columns = self.first[:, None] + np.arange(self.masked.shape[1]) - before
        return where[np.arange(len(where))[:, None], columns.clip(max=where.shape[1] - 1)]

    def row_of(self, where: np.ndarray, prompt: bool) -> np.ndarray:
        """[n, T] bool, prompt first, from [n, L] of the canvas, and the same for all of the prompt; False behind the
        row."""
        prompts, length = self.canvas.prompt_length[self.rows], self.canvas.length
        column = np.arange(int(self.row_length.max())) - prompts[:, None]
        inside = where[np.arange(len(where))[:, None], column.clip(0, length - 1)]
        return np.where(column < 0, prompt, inside & (column < self.canvas.extent[self.rows][:, None]))

    def _with(self, **changes: Any) -> View:
        """The same rows: what has been looked up of them need not be looked up again."""
        made = replace(self, **changes)
        made.__dict__.update((name, value) for name, value in self.__dict__.items() if name in _OF_ROWS)
        return made

    # Where the questions stand.

    @cached_property
    def questions(self) -> tuple[str, ...]:
        """The ids."""
        return tuple(self.canvas.questions[i].id for i in self.rows)

    @cached_property
    def start(self) -> np.ndarray:
        """[n] int64, the response position at which the window begins."""
        return self.canvas.start[self.rows]

    @cached_property
    def block_start(self) -> np.ndarray:
        """[n] int64, where the block begins of which the window shows what is on the canvas: `start`, but where blocks
        are those of the backbone's attention. Then it may be before the canvas, or behind the window's first columns,
        which are finished."""
        return self.canvas.block_start[self.rows]

    @cached_property
    def lead(self) -> np.ndarray:
        """[n] int64, the column in which the block's first position stands."""
        return (self.block_start - self.start).clip(0)

    @cached_property
    def positions(self) -> np.ndarray:
        """int64, response positions."""
        return self.start[:, None] + np.arange(self.canvas.width)

    @cached_property
    def visits(self) -> np.ndarray:
        """[n] int64, forwards run in this window before this one: the k of Eq. (11)."""
        return self.canvas.visits[self.rows]

    @cached_property
    def forwards(self) -> np.ndarray:
        """[n] int64, forwards run for the question before this one."""
        return self.canvas.forwards[self.rows]

    @cached_property
    def first(self) -> np.ndarray:
        """[n] int64, where the window begins in its row, prompt first."""
        return self.canvas.prompt_length[self.rows] + self.start

    @cached_property
    def last(self) -> np.ndarray:
        """[n] int64, where what may be eligible in it ends there (past the last position)."""
        end = self.first + self.canvas.width + np.minimum(self.block_start - self.start, 0)
        return np.minimum(end, self.row_length)

    @cached_property
    def seen_from(self) -> np.ndarray:
        """[n] int64, where in its row the block of attention begins in which the window stands; 0 without such
        blocks."""
        size = self.canvas.attention_block
        return (self.first + self.lead) // size * size if size else np.zeros_like(self.first)

    @cached_property
    def seen_until(self) -> np.ndarray:
        """[n] int64, where it ends (past the last position): nothing in the window sees what stands there or behind."""
        size = self.canvas.attention_block
        return np.minimum(self.seen_from + size, self.row_length) if size else self.row_length

    @cached_property
    def row_length(self) -> np.ndarray:
        """[n] int64, prompt and canvas."""
        return self.canvas.prompt_length[self.rows] + self.canvas.extent[self.rows]

    # What stands there.

    @cached_property
    def ids(self) -> np.ndarray:
        """int64, the tokens, the mask token where masked."""
        return self._window(self.canvas.ids)

    @cached_property
    def source(self) -> np.ndarray:
        """int8, of canvas.SOURCES."""
        return self._window(self.canvas.source)

    @cached_property
    def committed_at(self) -> np.ndarray:
        """int32, the forward of the last commit; -1 for masks and for what the canvas began with."""
        return self._window(self.canvas.committed_at)

    @cached_property
    def prior(self) -> np.ndarray:
        """int64, the proposal's tokens."""
        return self._window(self.canvas.prior)

    @cached_property
    def trust(self) -> np.ndarray:
        """float64, its author's trust in them; NaN where there is no proposal."""
        return self._window(self.canvas.trust)

    @cached_property
    def backing(self) -> np.ndarray:
        """float64, the probability that a visible token came with: that of its commit, else its author's trust, else
        1."""
        confidence = self._window(self.canvas.confidence)
        return np.where(np.isnan(confidence), np.nan_to_num(self.trust, nan=1.0), confidence)

    def whole(self, name: str) -> np.ndarray:
        """[n, L] of the canvas: ids, masked, inside, source, committed_at, prior, trust, weight, or a column per
        position."""
        columns = self.canvas.columns.values
        return (columns[name] if name in columns else getattr(self.canvas, name))[self.rows]

    def recall(self, name: str) -> Any:
        """A column: [n, W], or [n] if it is per row. One with a vocabulary: a tensor [R, V], of the positions that are
        read."""
        if self.canvas.columns.declared[name].vocabulary:
            return self.canvas.columns.window(name, self.rows[self.at[0]], self.positions[self.at])
        return self.canvas.columns.window(name, self.rows, self.positions)

    def _window(self, array: np.ndarray) -> np.ndarray:
        return frozen(array[self.rows[:, None], self.positions])

    # What is read.

    @cached_property
    def at(self) -> tuple[np.ndarray, np.ndarray]:
        """[R] int64 each, row and column of every position that is read, masked or revocable, in row-major order."""
        i, j = (self.masked | self.revocable).nonzero()
        return i, j

    @cached_property
    def any_revocable(self) -> bool:
        return bool(self.revocable.any())

    def on_device(self, array: np.ndarray, device: torch.device) -> Tensor:
        """[R], the entries of a [n, W] array at the positions that are read, where the logits are. Nobody waits for
        it."""
        return upload(np.ascontiguousarray(array[self.at]), device)

    def spread(self, values: np.ndarray, fill: Any) -> np.ndarray:
        """[n, W] from [R] values, `fill` where nothing is read."""
        made = np.full(self.masked.shape, fill, dtype=values.dtype)
        made[self.at] = values
        return made

    # Keyed draws.

    def uniform(self, purpose: str) -> np.ndarray:
        """float64 draws from U[0, 1), keyed by (seed, question, purpose, forward index), position by position."""
        # A draw belongs to a response position: draw the canvas up to the window's end and keep the window.
        width = self.canvas.width
        if self._moved:
            births, born = self.canvas.births[self.rows].tolist(), self._window(self.canvas.born)
            rows = zip(self.questions, self.forwards.tolist(), births, born, strict=True)
            return np.stack([uniform(self.seed, q, purpose, count, step=n)[at] for q, n, count, at in rows])
        keys = zip(self.questions, self.forwards.tolist(), (self.start + width).tolist(), strict=True)
        return np.stack([uniform(self.seed, q, purpose, end, step=n)[-width:] for q, n, end in keys])

    @property
    def _moved(self) -> bool:
        """Whether a position's draws may be those of another place."""
        return bool(self.canvas.moves)

    def bits(self, purpose: str) -> np.ndarray:
        """[R] int64, 64 random bits for every position that is read, keyed by (seed, question, purpose, forward index,
        position)."""
        ends = (self.canvas.births[self.rows] if self._moved else self.start + self.canvas.width).tolist()
        drawn = [
            bits(self.seed, q, purpose, end, step=n)
            for q, n, end in zip(self.questions, self.forwards.tolist(), ends, strict=True)
        ]
        row, column = self.at
        places = self.positions[row, column]
        if self._moved:
            places = self.canvas.born[self.rows[row], places]
        found = [drawn[i][j] for i, j in zip(row.tolist(), places.tolist(), strict=True)]
        return np.array(found, dtype=np.uint64).view(np.int64)


def frozen(array: np.ndarray) -> np.ndarray:
    """The array, which nobody can write to any more."""
    array.flags.writeable = False
    return array


# What depends on the rows and the canvas alone, not on what is eligible.
_OF_ROWS = frozenset(
    name
    for name, value in vars(View).items()
    if isinstance(value, cached_property) and name not in ("at", "any_revocable")
)
