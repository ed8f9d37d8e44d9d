"""The places of a batch: questions that come in, rows that are worked on, results that go out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from warmexp.decode.meter import Meter, QuestionSums
from warmexp.decode.rows import Row
from warmexp.decode.state import SOURCES, Canvas, Question, Start
from warmexp.decode.strategy import Strategies
from warmexp.decode.verify import verified
from warmexp.models.backbone import Backbone
from warmexp.models.keys_values import KeysValues


@dataclass(frozen=True)
class Decoded:
    """A finished canvas and how it came about.

    ids: L token ids, none of them the mask (end-of-text, of source "mask", where decoding stopped before). commit_iteration, source: per
    position, the forward that committed it (-1: none did; of an injected token that was laid there later: the forward after which) and one
    of SOURCES. confidence: the softmax probability it was committed with, None where no forward committed it. revocations: (iteration,
    position, token, source, iteration of the commit that was undone). score: what an init that verifies read of the tokens it was offered
    in its `verifying` forwards, None at other positions; empty without.
    """

    id: str
    ids: tuple[int, ...]
    commit_iteration: tuple[int, ...]
    source: tuple[str, ...]
    confidence: tuple[float | None, ...]
    revocations: tuple[tuple[int, int, int, str, int], ...]
    cost: QuestionSums
    seconds: float
    score: tuple[float | None, ...] = ()
    verifying: int = 0


@dataclass
class Batch:
    """The unfinished questions. Row i of the canvas has its keys and values, where the cache keeps any, in slot i of `kept`."""

    backbone: Backbone
    s: Strategies
    seed: int
    meter: Meter
    canvas: Canvas | None = None
    kept: KeysValues | None = None
    seconds: dict[str, float] = field(default_factory=dict)  # outside the meter, by question, of all questions so far
    verdicts: dict[str, Start] = field(default_factory=dict)  # by question, of inits that verify
    entered: dict[str, int] = field(default_factory=dict)  # by question, the response position at which it entered its block
    reread: dict[str, int] = field(default_factory=dict)  # by question, how often a moved proposal was verified

    def __len__(self) -> int:
        return len(self.canvas.questions) if self.canvas else 0

    def admit(self, questions: Sequence[Question]) -> None:
        """Put waiting questions behind the others."""
        for question in questions:
            self._check(question)
            self.seconds[question.id] = 0.0
        if not questions:
            return
        length = self.s.length
        starts = [self.s.init.start(question, length.canvas_length, self.seed) for question in questions]
        if self.s.init.verifies:
            started = self.meter.clock()
            starts = verified(self.meter, self.s.init, questions, starts)
            self.charge(questions, self.meter.clock() - started)
            self.verdicts.update((q.id, start) for q, start in zip(questions, starts, strict=True) if start.score is not None)
        new = Canvas.build(list(questions), starts, self.backbone.mask_id, length.block_length, self.backbone.device)
        self.canvas = self.canvas.join(new) if len(self) else new
        if self.s.cache.keeps:
            self.kept = self.kept or KeysValues(self.backbone.transformer.config, self.backbone.dtype, self.backbone.device)
            self.kept.reserve(len(self), length.canvas_length + max(len(q.prompt) for q in questions))

    def _check(self, question: Question) -> None:
        """Draws, costs and results are keyed by question id; logits are read from the position before the canvas on."""
        if question.id in self.seconds:
            raise ValueError(f"two questions of a batch share an id, {question.id}")
        if not question.prompt:
            raise ValueError(f"question {question.id} has an empty prompt")
        if self.backbone.mask_id in question.proposal:
            raise ValueError(f"the proposal of question {question.id} holds the mask token")

    def part(self, rows: list[int]) -> Canvas:
        """The canvas of some rows, to be put back."""
        return self.canvas if len(rows) == len(self) else self.canvas.take(rows)

    def put(self, rows: list[int], part: Canvas, seconds: float) -> None:
        """Put back what was worked on for `seconds` outside the meter."""
        if part is not self.canvas:
            self.canvas.put(rows, part)
        self.charge(part.questions, seconds)

    def charge(self, questions: Sequence[Question], seconds: float) -> None:
        """Equal shares of what was spent on several questions."""
        for question in questions:
            self.seconds[question.id] += seconds / len(questions)

    def leave(self, rows: list[Row | None]) -> list[Decoded]:
        """Take finished questions out; the last rows move to where they were."""
        done = [self._decoded(i) for i, row in enumerate(rows) if row is None]
        live = [i for i, row in enumerate(rows) if row is not None]
        order = list(range(len(live)))
        free = [i for i in order if rows[i] is None]
        for target, source in zip(free, live[len(live) - len(free) :], strict=True):
            order[target] = source
            if self.kept is not None:
                self.kept.move(source, target)
        self.canvas = self.canvas.take(order)
        return done

    def _decoded(self, row: int) -> Decoded:
        canvas, question = self.canvas, self.canvas.questions[row]
        verdict = self.verdicts.pop(question.id, None)
        cost = self.meter.cost(question.id)
        return Decoded(
            id=question.id,
            ids=tuple(self.backbone.eos_id if i == canvas.mask_id else i for i in canvas.ids[row].tolist()),
            commit_iteration=tuple(canvas.committed_at[row].tolist()),
            source=tuple(SOURCES[i] for i in canvas.source[row].tolist()),
            confidence=_known(canvas.confidence[row]),
            revocations=tuple(canvas.revocations.pop(question.id, ())),
            cost=cost,
            seconds=self.seconds[question.id] + cost.forward_seconds + cost.choosing_seconds,
            score=_known(verdict.score) if verdict else (),
            verifying=verdict.forwards if verdict else 0,
        )


def _known(values: Tensor) -> tuple[float | None, ...]:
    return tuple(None if math.isnan(value) else value for value in values.tolist())
