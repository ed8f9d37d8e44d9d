"""The places of a batch: questions that come in, rows that are worked on, results that go out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from warmexp.decode import checked, checked_rows
from warmexp.decode.canvas import SOURCES, Canvas, Move, Question, Size, Start, padded
from warmexp.decode.guided import Guided
from warmexp.decode.meter import Meter, QuestionSums
from warmexp.decode.strategy import Strategies
from warmexp.errors import UserError
from warmexp.models.backbone import Backbone
from warmexp.models.keys_values import KeysValues
from warmexp.models.tiles import Tiles


@dataclass(frozen=True)
class Decoded:
    """A finished canvas and how it came about.

    ids: L token ids, none of them the mask (end-of-text, of source "mask", where decoding stopped before).
    commit_iteration, source: per position, the forward that committed it (-1: none did; of an injected token that was
    laid there later: the forward after which) and one of SOURCES. confidence: the softmax probability it was committed
    with, None where no forward committed it. revocations: (iteration, position, token, source, iteration of the commit
    that was undone); of a replaced token too. columns: what strategies have recorded, a number or one per position,
    None for NaN. nats: per forward, Σ -ln c over what it committed, which is the information that it added. notes: what
    a watcher has noted, forward by forward. moves: positions that have appeared or gone (canvas.Move); the positions of
    all else are those of the end.
    """

    id: str
    ids: tuple[int, ...]
    commit_iteration: tuple[int, ...]
    source: tuple[str, ...]
    confidence: tuple[float | None, ...]
    revocations: tuple[tuple[int, int, int, str, int], ...]
    cost: QuestionSums
    seconds: float
    columns: Mapping[str, Any] = field(default_factory=dict)
    nats: tuple[float, ...] = ()
    notes: tuple[Any, ...] = ()
    moves: tuple[Move, ...] = ()

    def with_seconds(self, outside: float) -> Decoded:
        """With what was spent outside forwards."""
        return replace(self, seconds=self.seconds + outside)


@dataclass
class Batch:
    """The unfinished questions. Row i of the canvas has its keys and values, where the cache keeps any, in slot i of
    `kept`, those of a guide in slot i of `guided`, and its pattern of attention in slot i of `tiles`.

    Every second between `begin` and the last question that leaves is charged to somebody: to those who were worked on,
    or in whose forward it was spent.
    """

    backbone: Backbone
    s: Strategies
    seed: int
    meter: Meter
    kept: KeysValues | None = None
    guided: Guided | None = None
    tiles: Tiles | None = None
    seconds: dict[str, float] = field(default_factory=dict)  # outside the meter, by question, of all questions so far
    _canvas: Canvas | None = None  # before the first question
    _since: float = 0.0

    def __len__(self) -> int:
        return 0 if self._canvas is None else len(self._canvas)

    @property
    def canvas(self) -> Canvas:
        """Of the questions that have been admitted."""
        if self._canvas is None:
            raise ValueError("nobody has been admitted yet")
        return self._canvas

    def begin(self) -> None:
        """Seconds count from here: what went before was whoever the questions come from or the results go to."""
        self._since = self.meter.clock()

    def charge(self, rows: Sequence[int] | np.ndarray) -> None:
        """Equal shares of the seconds outside the meter since the last charge to the questions of these rows."""
        now = self.meter.clock()
        for row in rows:
            self.seconds[self.canvas.questions[row].id] += (now - self._since) / len(rows)
        self._since = now

    def admit(self, questions: Sequence[Question]) -> None:
        """Put waiting questions behind the others."""
        for question in questions:
            self._check(question)
            self.seconds[question.id] = 0.0
        if not questions:
            return
        length, backbone, before = self.s.length, self.backbone, len(self)
        starts, sizes = self._sized(questions)
        width = checked_rows.width(self.s.schedule, self.s.schedule.width(length), length.canvas_length)
        new = Canvas(
            questions,
            starts,
            backbone.mask_id,
            width,
            self.s.columns,
            vocabulary=backbone.vocabulary,
            device=backbone.device,
            attention_block=backbone.attention_block,
            end_id=backbone.eos_id,
            sizes=sizes,
        )
        if self._canvas is None:
            self._canvas = new
        else:
            self._canvas.join(new)
        if self.s.cache.keeps:
            self.kept = self.kept or KeysValues(backbone.transformer.config, backbone.dtype, backbone.device)
            self.kept.reserve(len(self), length.canvas_length + max(len(q.prompt) for q in questions))
        if self.s.attention.sparse and self.tiles is None:
            self.tiles = Tiles(self.s.attention.tile, self.s.attention.share)
        if self.s.guide.guides:
            if self.guided is None:
                model = checked.guide(self.s.guide, self.s.guide.model(backbone), backbone)
                self.guided = Guided(model, self.meter, self.s.init.rules_out)
            self.guided.admit(before, len(self), length.canvas_length + max(len(q.prompt) for q in questions))
        self.charge(range(before, len(self)))

    def _sized(self, questions: Sequence[Question]) -> tuple[list[Start], list[Size]]:
        """The starts, of canvas_length positions each, and how many of these the canvases have; () where all."""
        length = self.s.length
        if not length.resizes:
            return self.prepared(questions, self.starts(questions)), []
        longest = length.canvas_length
        begun = [checked_rows.begins(length, length.begins(q), q, longest) for q in questions]
        found: dict[int, Start] = {}
        for size in sorted(set(begun)):
            which = [i for i, one in enumerate(begun) if one == size]
            some = [questions[i] for i in which]
            found |= dict(zip(which, self.prepared(some, self.starts(some, size), None, size), strict=True))
        made = [found[i] for i in range(len(begun))]
        laid = [np.where(one.injected, one.tokens, self.backbone.mask_id) for one in made]
        sizes = checked_rows.sizes(length, length.prepare(self.meter, questions, laid), begun, longest)
        return [padded(one, longest, self.s.columns) for one in made], sizes

    def starts(self, questions: Sequence[Question], length: int | None = None) -> list[Start]:
        """What the init makes of them, before any forward. length: of the canvases, canvas_length by default."""
        init, length = self.s.init, length or self.s.length.canvas_length
        made = [init.start(question, length, self.seed) for question in questions]
        return self._lawful("start", made, questions, length)

    def prepared(
        self,
        questions: Sequence[Question],
        starts: list[Start],
        given: Sequence[int] | None = None,
        length: int | None = None,
    ) -> list[Start]:
        """The starts after the init's own forwards."""
        made = self.s.init.prepare(self.meter, questions, starts, given)
        return self._lawful("prepare", made, questions, length or self.s.length.canvas_length)

    def _lawful(self, hook: str, starts: Any, questions: Sequence[Question], length: int) -> list[Start]:
        backbone = self.backbone
        return checked_rows.starts(self.s.init, hook, starts, questions, length, backbone.mask_id, backbone.vocabulary)

    def _check(self, question: Question) -> None:
        """Draws, costs and results are keyed by question id; logits are read from the position before the canvas on."""
        if question.id in self.seconds:
            raise ValueError(f"two questions of a batch share an id, {question.id}")
        if not question.prompt:
            raise ValueError(f"question {question.id} has an empty prompt")
        if self.backbone.mask_id in question.proposal:
            raise ValueError(f"the proposal of question {question.id} holds the mask token")
        wrong = [trust for trust in question.trust if not 0 <= trust <= 1]  # NaN is neither
        if wrong:
            raise UserError(
                f"{question.id}: the trust in a token of its proposal is {wrong[0]} and not in [0, 1]: check the"
                " proposer's probabilities and proposer.calibration."
            )

    def leave(self, live: np.ndarray) -> list[Decoded]:
        """Take finished questions out; the last rows move to where they were. live: [B] bool, False for those that are
        finished."""
        gone, left = np.flatnonzero(~live).tolist(), np.flatnonzero(live).tolist()
        ended = [self._decoded(row) for row in gone]
        seconds = [self.canvas.questions[row].id for row in gone]
        order = list(range(len(left)))
        free = [i for i in order if not live[i]]
        for target, source in zip(free, left[len(left) - len(free) :], strict=True):
            order[target] = source
            if self.kept is not None:
                self.kept.move(source, target)
            if self.tiles is not None:
                self.tiles.move(source, target)
            if self.guided is not None:
                self.guided.move(source, target)
        self.canvas.keep(order)
        share = (self.meter.clock() - self._since) / len(gone)
        return [one.with_seconds(self.seconds[i] + share) for i, one in zip(seconds, ended, strict=True)]

    def _decoded(self, row: int) -> Decoded:
        """Its seconds outside forwards are not known yet."""
        canvas = self.canvas
        question = canvas.questions[row]
        cost = self.meter.cost(question.id)
        here = slice(int(canvas.extent[row]))
        ids, nats = canvas.ids[row, here], canvas.nats.pop(question.id, {})
        columns = canvas.columns.recorded(row, self.s.length.resizes)
        return Decoded(
            id=question.id,
            ids=tuple(np.where(ids == canvas.mask_id, self.backbone.eos_id, ids).tolist()),
            commit_iteration=tuple(canvas.committed_at[row, here].tolist()),
            source=tuple(SOURCES[i] for i in canvas.source[row, here].tolist()),
            confidence=_known(canvas.confidence[row, here].tolist()),
            revocations=tuple(canvas.revocations.pop(question.id, ())),
            notes=tuple(canvas.notes.pop(question.id, ())),
            moves=tuple(canvas.moves.pop(question.id, ())),
            cost=cost,
            seconds=cost.forward_seconds + cost.choosing_seconds + cost.guide_seconds,
            columns={name: _known(v) if isinstance(v, list) else v for name, v in columns.items()},
            nats=tuple(nats.get(n, 0.0) for n in range(canvas.forwards[row])),
        )


def _known(values: Sequence[float]) -> tuple[float | None, ...]:
    return tuple(None if math.isnan(value) else value for value in values)
