"""The places of a batch: questions that come in, rows that are worked on, results that go out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from warmexp.decode.meter import Meter, QuestionSums
from warmexp.decode.rows import Row
from warmexp.decode.state import SOURCES, Canvas, Question, Revocation, Start
from warmexp.decode.strategy import Strategies
from warmexp.decode.verify import verified
from warmexp.errors import UserError
from warmexp.models.backbone import Backbone
from warmexp.models.keys_values import KeysValues
from warmexp.models.wanted import upload


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
    """The unfinished questions. Row i of the canvas has its keys and values, where the cache keeps any, in slot i of `kept`.

    Every second between `begin` and the last question that leaves is charged to somebody: to those who were worked on, or in whose
    forward it was spent.
    """

    backbone: Backbone
    s: Strategies
    seed: int
    meter: Meter
    canvas: Canvas | None = None
    kept: KeysValues | None = None
    seconds: dict[str, float] = field(default_factory=dict)  # outside the meter, by question, of all questions so far
    verdicts: dict[str, Start] = field(default_factory=dict)  # by question, of inits that verify
    entered: dict[str, int] = field(default_factory=dict)  # by question, the response position at which it entered its block
    working: Sequence[Question] = ()  # who was worked on last
    reread: dict[str, int] = field(default_factory=dict)  # by question, how often a moved proposal was verified

    def __len__(self) -> int:
        return len(self.canvas.questions) if self.canvas else 0

    def begin(self) -> None:
        """Seconds count from here: what went before was whoever the questions come from or the results go to."""
        self._since = self.meter.clock()

    def charge(self, questions: Sequence[Question] | None = None) -> None:
        """Equal shares of the seconds outside the meter since the last charge to the questions that were worked on; None: to the same."""
        if questions is not None:
            self.working = [*questions]
        now = self.meter.clock()
        for question in self.working:
            self.seconds[question.id] += (now - self._since) / len(self.working)
        self._since = now

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
            starts = verified(self.meter, self.s.init, questions, starts)
            self.verdicts.update((q.id, start) for q, start in zip(questions, starts, strict=True) if start.score is not None)
        new = Canvas.build(list(questions), starts, self.backbone.mask_id, length.block_length, self.backbone.device)
        self.canvas = self.canvas.join(new) if len(self) else new
        if self.s.cache.keeps:
            self.kept = self.kept or KeysValues(self.backbone.transformer.config, self.backbone.dtype, self.backbone.device)
            self.kept.reserve(len(self), length.canvas_length + max(len(q.prompt) for q in questions))
        self.charge(questions)

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
                f"{question.id}: the trust in a token of its proposal is {wrong[0]} and not in [0, 1]: check the proposer's"
                " probabilities and proposer.calibration."
            )

    def part(self, rows: list[int]) -> Canvas:
        """The canvas of some rows, to be put back."""
        return self.canvas if len(rows) == len(self) else self.canvas.take(rows)

    def put(self, rows: list[int], part: Canvas) -> None:
        """Put back what was worked on."""
        if part is not self.canvas:
            self.canvas.put(rows, part)
        self.charge(part.questions)

    def leave(self, rows: list[Row | None]) -> list[Decoded]:
        """Take finished questions out; the last rows move to where they were."""
        gone = [i for i, row in enumerate(rows) if row is None]
        index = upload(np.array(gone), self.canvas.ids.device)
        ended = [self.canvas.questions[i] for i in gone]
        fields = [getattr(self.canvas, name)[index] for name in ("ids", "committed_at", "source", "confidence")]
        values = self.meter.fetch([*fields, *self.canvas.logged])
        revocations = self.canvas.revocations(values[len(fields) :])
        live = [i for i, row in enumerate(rows) if row is not None]
        order = list(range(len(live)))
        free = [i for i in order if rows[i] is None]
        for target, source in zip(free, live[len(live) - len(free) :], strict=True):
            order[target] = source
            if self.kept is not None:
                self.kept.move(source, target)
        self.canvas = self.canvas.take(order)
        self.charge(ended)
        self.working = self.canvas.questions
        columns = zip(*(value.tolist() for value in values[: len(fields)]), strict=True)
        return [self._decoded(q, *row, revocations.pop(q.id, ())) for q, row in zip(ended, columns, strict=True)]

    def _decoded(
        self,
        question: Question,
        ids: list[int],
        committed_at: list[int],
        source: list[int],
        confidence: list[float],
        revocations: Sequence[Revocation],
    ) -> Decoded:
        verdict = self.verdicts.pop(question.id, None)
        cost = self.meter.cost(question.id)
        return Decoded(
            id=question.id,
            ids=tuple(self.backbone.eos_id if i == self.backbone.mask_id else i for i in ids),
            commit_iteration=tuple(committed_at),
            source=tuple(SOURCES[i] for i in source),
            confidence=_known(confidence),
            revocations=tuple(revocations),
            cost=cost,
            seconds=self.seconds[question.id] + cost.forward_seconds + cost.choosing_seconds,
            score=_known(verdict.score.tolist()) if verdict else (),
            verifying=verdict.forwards if verdict else 0,
        )


def _known(values: list[float]) -> tuple[float | None, ...]:
    return tuple(None if math.isnan(value) else value for value in values)
