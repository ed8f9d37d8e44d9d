"""What is being decoded: questions and their canvases, and the one function that edits them.

A canvas lives on the host, in NumPy arrays: a forward's answer is a few numbers per position, and once they have been
read nothing that follows has to wait for a device again. All arrays are response-aligned: column j is response position
j, whatever the length of a row's prompt. B is the number of unfinished questions, L the canvas length, W the width of
the window that a forward may change. A position is *masked* iff its id is the mask id; nothing else records it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from warmexp.decode.columns import Column, Columns
from warmexp.decode.edit import Edit, Finish

# Where the token at a position came from. FIXED tokens are never revoked or overwritten (a prompt's tail, a scaffold).
MASK, INJECTED, DECODED, FIXED = 0, 1, 2, 3
SOURCES = ("mask", "injected", "decoded", "fixed")
_LEAST = 1e-300  # a probability whose logarithm is counted


# (iteration, position, token, its source, iteration of the commit that was undone)
Revocation = tuple[int, int, int, str, int]
# (iteration, position, how many appear before it, or go from it on: below 0). Those of one iteration stand from the
# last position to the first, so that each says where it is on the canvas that the ones before it have made.
Move = tuple[int, int, int]


@dataclass(frozen=True)
class Question:
    """One question as the decoder sees it.

    `id` keys the random draws. `prompt` and `proposal` are token ids in the backbone's vocabulary; `proposal` is
    already cut to the canvas. An empty proposal is a cold start. `trust` has a value in [0, 1] for every proposal
    token, or is empty where nobody asked for any: the smallest probability its author gave to what lies under the
    token, calibrated where there is a map (proposer.proposal.Encoded). The first `written` proposal tokens are its
    author's text; what follows them, if anything, is end-of-text. `numeric` says of every proposal token whether its
    text holds a digit, or is empty like `trust`. `likely` has for every proposal token what the author thought might
    stand there, (token, probability) pairs with the likeliest first, or is empty.
    """

    id: str
    prompt: tuple[int, ...]
    proposal: tuple[int, ...] = ()
    trust: tuple[float, ...] = ()
    written: int = 0
    numeric: tuple[bool, ...] = ()
    likely: tuple[tuple[tuple[int, float], ...], ...] = ()


@dataclass(frozen=True)
class Size:
    """How many positions a canvas begins with. begun: those that an init has laid; positions: all; ends: how many of
    them, at the end, are end tokens that stay; forwards: run to know; moves: how it grew behind them, by these forwards
    counted from 0."""

    begun: int
    positions: int
    ends: int = 0
    forwards: int = 0
    moves: tuple[Move, ...] = ()


@dataclass
class Start:
    """What an init makes of one question: response-aligned arrays [L].

    tokens: int64, the proposal slot for slot, 0 beyond its end. injected: bool, positions that receive their token as a
    visible one. fixed: bool, those of them whose token nobody revokes or replaces; None: none. weight: float64, the
    share of the token's embedding in the input of a position that stays masked, before the init scales it forward by
    forward (Init.mixture); None: 0 everywhere. columns: what the init's columns begin with. forwards: run to make this.
    """

    tokens: np.ndarray
    injected: np.ndarray
    weight: np.ndarray | None = None
    fixed: np.ndarray | None = None
    columns: Mapping[str, np.ndarray | float] = field(default_factory=dict)
    forwards: int = 0


class Canvas:
    """The state of a batch of unfinished questions.

    ids [B, L] int64. source [B, L] int8, of SOURCES. committed_at [B, L] int32, the forward of the last commit, or
    after which a token was laid; -1 for masks and for what began there. confidence [B, L] float64, the probability with
    which a token was committed, NaN for what no forward committed. prior [B, L] int64, trust [B, L] float64 (NaN where
    there is none), weight [B, L] float64 (Start.weight): the proposal. start [B] int64, where the window begins, and
    block_start [B] int64, where the block begins of which it shows what is on the canvas (windows.py): the same, but
    for a backbone whose attention ends at blocks; visits [B] int64, forwards run in it (the k of Eq. 11); forwards [B]
    int64, run for the question, those not counted that read nothing. ended [B] bool, whether a watcher has finished it.
    columns: what strategies remember. vocabulary: how many tokens there are. attention_block: of the backbone
    (ModelConfig).

    A canvas may have fewer positions than L: extent [B] int64 says how many. What is behind them is no part of it; it
    is never masked, and looks like fixed end tokens. born [B, L] int64: a number that a position keeps wherever it
    moves, which keys its draws; births [B] int64, how many there have been.

    By question, until it leaves: revocations; nats, the information that each forward has committed; notes, what a
    watcher has said of each forward; moves, positions that have appeared or gone.
    """

    ARRAYS = (
        "ids",
        "source",
        "committed_at",
        "confidence",
        "prior",
        "trust",
        "weight",
        "start",
        "block_start",
        "visits",
        "forwards",
        "ended",
        "prompt_length",
        "extent",
        "born",
        "births",
    )

    def __init__(
        self,
        questions: Sequence[Question],
        starts: Sequence[Start],
        mask_id: int,
        width: int,
        columns: Mapping[str, Column],
        vocabulary: int = 0,
        device: torch.device | None = None,
        attention_block: int = 0,
        end_id: int = 0,
        sizes: Sequence[Size] = (),
    ):
        self.attention_block, self.end_id = attention_block, end_id
        self.questions, self.mask_id, self.width, self.vocabulary = list(questions), mask_id, width, vocabulary
        tokens = np.stack([s.tokens for s in starts])
        injected = np.stack([s.injected for s in starts])
        rows, length = tokens.shape
        self.ids = np.where(injected, tokens, mask_id)
        self.source = np.where(injected, INJECTED, MASK).astype(np.int8)
        for row, one in enumerate(starts):
            if one.fixed is not None:
                self.source[row, one.fixed] = FIXED
        self.committed_at = np.full(tokens.shape, -1, dtype=np.int32)
        self.confidence = np.full(tokens.shape, np.nan)
        self.prior = tokens
        self.trust = np.stack([_trust(q, length) for q in questions])
        self.extent = np.full(rows, length)
        self.born = np.tile(np.arange(length), (rows, 1))
        self.births = np.full(rows, length)
        self.weight = np.stack([_weight(s) for s in starts])
        self.start, self.visits = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64)
        self.forwards = np.array([s.forwards for s in starts], dtype=np.int64)
        self.ended = np.zeros(rows, dtype=bool)
        self.prompt_length = np.array([len(q.prompt) for q in questions], dtype=np.int64)
        # Such blocks are counted from the prompt's first position: the canvas's first may begin in the prompt.
        self.block_start = -(self.prompt_length % width) if attention_block else np.zeros(rows, dtype=np.int64)
        self.rows = _rows(questions, length)
        self.columns = Columns(columns, rows, length, vocabulary, device)
        for row, one in enumerate(starts):
            self.columns.begin(row, one.columns)
        self.revocations: dict[str, list[Revocation]] = {}
        self.nats: dict[str, dict[int, float]] = {}
        self.notes: dict[str, list[Any]] = {}
        self.moves: dict[str, list[Move]] = {}
        for row, size in enumerate(sizes):
            self.extent[row] = size.positions
            self.trust[row, size.begun :] = np.nan
            self.forwards[row] += size.forwards
            self._close(row, size.positions - size.ends)
            if size.moves:  # counted from the length's first forward, which comes after the init's
                before = starts[row].forwards
                self.moves[self.questions[row].id] = [(n + before, at, count) for n, at, count in size.moves]

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def length(self) -> int:
        """L."""
        return self.ids.shape[1]

    @property
    def inside(self) -> np.ndarray:
        """[B, L] bool, positions that the canvas has."""
        return np.arange(self.length) < self.extent[:, None]

    @property
    def masked(self) -> np.ndarray:
        """[B, L] bool."""
        return self.ids == self.mask_id

    def sequences(self, rows: np.ndarray) -> np.ndarray:
        """[n, P + L] int64: prompt and canvas of some rows, from column 0, padded on the right with anything."""
        made = self.rows[rows]
        if len(rows) == 1:  # one question at a time is what people wait for
            first = self.prompt_length[rows[0]]
            made[0, first : first + self.length] = self.ids[rows[0]]
        else:
            made[np.arange(len(rows))[:, None], self.prompt_length[rows][:, None] + np.arange(self.length)] = self.ids[
                rows
            ]
        return made

    def apply(self, edit: Edit) -> None:
        """A forward's edit: write tokens where it commits or replaces, put the mask back where it revokes, and count
        one forward.

        Raises:
            ValueError: a commit over a token or of the mask, a revocation or replacement of a mask or of a fixed token.
        """
        where = (edit.rows[:, None], edit.positions)
        before, origin = self.ids[where], self.source[where]
        masked = before == self.mask_id
        if (edit.commit & ~masked).any() or (edit.token == self.mask_id)[edit.commit].any():
            raise ValueError("a commit over a token, or of the mask")
        now = self.forwards[edit.rows]
        lost = edit.lost
        if lost is not None:
            if (lost & (masked | (origin == FIXED))).any():
                raise ValueError("a revocation or replacement of a mask or a fixed token")
            self._log(edit.rows, edit.positions, lost, before, origin, now)
        if edit.revoke is not None:
            self._wipe(*(index[edit.revoke] for index in np.broadcast_arrays(*where)))
        self._count(edit, now)
        row, position, token, confidence = edit.written()
        self.ids[row, position] = token
        self.source[row, position] = DECODED
        self.committed_at[row, position] = self.forwards[row]
        self.confidence[row, position] = confidence
        if edit.finish is not None:
            self._fill(edit.rows, edit.finish)
        if lost is not None:
            self.columns.reset(*(index[lost] for index in np.broadcast_arrays(*where)))
        if edit.resize is not None:
            for i in np.flatnonzero((edit.resize.insert > 0).any(1) | edit.resize.delete.any(1)):
                self._resize(int(edit.rows[i]), edit.resize.insert[i], edit.resize.delete[i])
        self.forwards[edit.rows] += 1
        self.visits[edit.rows] += 1

    def _resize(self, row: int, insert: np.ndarray, delete: np.ndarray) -> None:
        """Positions of a row that appear and go. Those that are cut off at the end, and come back there, are the same.

        Raises:
            ValueError: the canvas would have more than L positions, or none.
        """
        extent, length = int(self.extent[row]), self.length
        come: list[int] = []
        moves: list[Move] = []
        now = int(self.forwards[row])
        for position in range(extent):
            come += [-1] * int(insert[position])
            come += [] if delete[position] else [position]
            moves += [(now, position, int(insert[position]))] if insert[position] else []
            moves += [(now, position, -1)] if delete[position] else []
        cut = extent - int(np.flatnonzero(~delete[:extent]).max(initial=-1)) - 1  # from the end
        behind = list(range(extent - cut, length))
        more = int(insert[extent])
        now_has = len(come) + more
        if not 1 <= now_has <= length:
            raise ValueError(f"a canvas of {now_has} positions, where there are 1 to {length}")
        moves += [(now, extent, more)] if more else []
        moved = np.array([*come, *behind, *[-1] * length][:length])
        anew = moved < 0
        for name in ("ids", "source", "committed_at", "confidence", "prior", "trust", "weight", "born"):
            array = getattr(self, name)
            array[row] = array[row, moved.clip(0)]
        fresh = anew.copy()
        fresh[len(come) : now_has] = True
        self._wipe(np.full(fresh.sum(), row), np.flatnonzero(fresh))
        self.prior[row, anew], self.trust[row, anew], self.weight[row, anew] = 0, np.nan, 0.0
        self.born[row, anew] = self.births[row] + np.arange(anew.sum())
        self.births[row] += anew.sum()
        self.columns.move(row, moved)
        self.extent[row] = now_has
        self._close(row, now_has)
        self.moves.setdefault(self.questions[row].id, []).extend(_joined(moves[::-1]))

    def _close(self, row: int, first: int) -> None:
        """From a position on nothing is masked, and nothing changes."""
        self.ids[row, first:], self.source[row, first:] = self.end_id, FIXED
        self.committed_at[row, first:], self.confidence[row, first:] = -1, np.nan

    def _fill(self, rows: np.ndarray, finish: Finish) -> None:
        """Every mask of the rows that are over."""
        i, position = (self.masked[rows] & finish.rows[:, None]).nonzero()
        row = rows[i]
        self.ids[row, position] = finish.token[i, position]
        self.source[row, position] = DECODED
        self.committed_at[row, position] = self.forwards[row]
        self.confidence[row, position] = finish.confidence[i, position]
        self.ended[rows] |= finish.rows
        for one, chance in zip(row.tolist(), finish.confidence[i, position].clip(_LEAST, 1.0).tolist(), strict=True):
            self.nats[self.questions[one].id][int(self.forwards[one])] -= math.log(chance)

    def note(self, rows: np.ndarray, notes: Sequence[Any]) -> None:
        """What a watcher says of these rows and their last forward."""
        for row, said in zip(rows.tolist(), notes, strict=True):
            self.notes.setdefault(self.questions[row].id, []).append(said)

    def _wipe(self, row: np.ndarray, position: np.ndarray) -> None:
        self.ids[row, position] = self.mask_id
        self.source[row, position] = MASK
        self.committed_at[row, position] = -1
        self.confidence[row, position] = np.nan

    def _log(
        self,
        rows: np.ndarray,
        positions: np.ndarray,
        lost: np.ndarray,
        before: np.ndarray,
        origin: np.ndarray,
        now: np.ndarray,
    ) -> None:
        """Remember what is about to go. rows, now: [n]; the others [n, W]."""
        for i, j in zip(*lost.nonzero(), strict=True):
            row, position = int(rows[i]), int(positions[i, j])
            event = (
                int(now[i]),
                position,
                int(before[i, j]),
                SOURCES[origin[i, j]],
                int(self.committed_at[row, position]),
            )
            self.revocations.setdefault(self.questions[row].id, []).append(event)

    def _count(self, edit: Edit, now: np.ndarray) -> None:
        """Remember the information of what is committed, Σ -ln c in nats. now: [n]."""
        chance = np.where(edit.commit, edit.confidence, 1.0).clip(_LEAST, 1.0)
        for row, n, value in zip(edit.rows.tolist(), now.tolist(), (-np.log(chance)).sum(1).tolist(), strict=True):
            self.nats.setdefault(self.questions[row].id, {})[n] = value + 0.0  # no -0.0

    def place_prior(self, row: int, question: Question, start: Start, first: int) -> None:
        """Begin anew from position `first` of a row on, with the `start` of the `question` whose proposal was moved.

        What an earlier start injected there goes (as a revocation, unless the same token comes back); what was decoded
        or is fixed stays.
        """
        here = slice(first, None)
        before, origin = self.ids[row, here].copy(), self.source[row, here].copy()
        free = (origin == MASK) | (origin == INJECTED)
        injected = start.injected[here]
        after = np.where(free, np.where(injected, start.tokens[here], self.mask_id), before)
        lost = (origin == INJECTED) & (after != before)
        now = self.forwards[row] + start.forwards - 1
        positions = np.arange(first, self.length)
        self._log(np.array([row]), positions[None], lost[None], before[None], origin[None], np.array([now]))
        stamp = self.committed_at[row, here]
        self.committed_at[row, here] = np.where(free & injected & (after != before), now, np.where(lost, -1, stamp))
        self.ids[row, here] = after
        self.source[row, here] = np.where(free, np.where(injected, INJECTED, MASK), origin)
        self.prior[row, here] = start.tokens[here]
        self.weight[row, here] = _weight(start)[here]
        self.trust[row] = _trust(question, self.length)
        for name, value in start.columns.items():
            if self.columns.declared[name].follows:
                self.columns.values[name][row, here] = np.asarray(value)[here]
        self.forwards[row] += start.forwards
        self.columns.reset(np.full(lost.sum(), row), positions[lost])

    def copies(self, order: np.ndarray) -> Canvas:
        """These rows, each as often as it is named: candidates, of which one may be adopted. What is logged of them is
        logged here."""
        made = copy(self)
        made.columns = self.columns.copies(order)
        made._reorder(order)
        return made

    def lay(self, where: np.ndarray, token: np.ndarray, confidence: np.ndarray, source: int) -> None:
        """Put tokens on masks before the forward that reads them, [B, L] each. Decoded ones count as commits of that
        forward, injected ones as laid after the one before.

        Raises:
            ValueError: over a token, or the mask.
        """
        if (where & ~self.masked).any() or (token == self.mask_id)[where].any():
            raise ValueError("a token laid over a token, or the mask laid")
        row, position = where.nonzero()
        self.ids[row, position] = token[row, position]
        self.source[row, position] = source
        self.committed_at[row, position] = self.forwards[row] - (source == INJECTED)
        self.confidence[row, position] = confidence[row, position]

    def adopt(self, candidates: Canvas, rows: np.ndarray, laid: np.ndarray) -> None:
        """Every row becomes one of the candidates', after their last forward. rows: [B] int64. laid: [B, L] bool, what
        was laid on these before it."""
        for name in self.ARRAYS:
            setattr(self, name, getattr(candidates, name)[rows])
        self.columns.adopt(candidates.columns, rows)
        for i, j in zip(*(laid & (self.source == DECODED)).nonzero(), strict=True):
            nats = self.nats.setdefault(self.questions[i].id, {})
            n = int(self.forwards[i]) - 1
            nats[n] = nats.get(n, 0.0) - math.log(min(max(float(self.confidence[i, j]), _LEAST), 1.0))

    def keep(self, order: Sequence[int]) -> None:
        """Only these rows, in this order."""
        index = np.asarray(order, dtype=np.int64)
        self._reorder(index)
        self.columns.keep(index)

    def _reorder(self, index: np.ndarray) -> None:
        self.questions = [self.questions[i] for i in index]
        self.rows = self.rows[index]
        for name in self.ARRAYS:
            setattr(self, name, getattr(self, name)[index])

    def join(self, other: Canvas) -> None:
        """Another canvas's rows, under these."""
        width = max(self.rows.shape[1], other.rows.shape[1])
        self.questions += other.questions
        self.rows = np.concatenate(
            [np.pad(rows, ((0, 0), (0, width - rows.shape[1]))) for rows in (self.rows, other.rows)]
        )
        for name in self.ARRAYS:
            setattr(self, name, np.concatenate((getattr(self, name), getattr(other, name))))
        self.columns.join(other.columns)


def _rows(questions: Sequence[Question], length: int) -> np.ndarray:
    """[B, P + L] int64: the prompts, and room for the canvases."""
    made = np.zeros((len(questions), length + max(len(q.prompt) for q in questions)), dtype=np.int64)
    for row, question in zip(made, questions, strict=True):
        row[: len(question.prompt)] = question.prompt
    return made


def padded(start: Start, length: int, columns: Mapping[str, Column]) -> Start:
    """The start with masks behind it, `length` positions in all."""
    more = (0, length - len(start.tokens))
    told = {
        name: np.pad(value, more, constant_values=columns[name].fill) if np.ndim(value) else value
        for name, value in start.columns.items()
    }
    weight, fixed = (None if value is None else np.pad(value, more) for value in (start.weight, start.fixed))
    return Start(np.pad(start.tokens, more), np.pad(start.injected, more), weight, fixed, told, start.forwards)


def _joined(moves: list[Move]) -> list[Move]:
    """Neighbouring positions that go are one move; from the last position to the first."""
    made: list[Move] = []
    for now, position, count in moves:
        if count < 0 and made and made[-1][2] < 0 and made[-1][1] == position + 1:
            made[-1] = (now, position, made[-1][2] + count)
        else:
            made.append((now, position, count))
    return made


def _weight(start: Start) -> np.ndarray:
    """[L] float64, 0 where a token is injected."""
    return np.zeros(len(start.tokens)) if start.weight is None else np.where(start.injected, 0.0, start.weight)


def _trust(question: Question, length: int) -> np.ndarray:
    """[L] float64: 1 for every proposal token where nobody said anything, NaN behind the proposal."""
    made = np.full(length, np.nan)
    said = (question.trust or (1.0,) * len(question.proposal))[:length]
    made[: len(said)] = said
    return made
