"""Retrieval: the solution of the training question that is most like the one asked. No second model.

A prior that is fluent, has the right shape and is nearly always wrong in its numbers: what a warm start makes of it
shows how far the backbone is led by form alone.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from warmexp.errors import UserError, check_choice, check_range
from warmexp.proposers.proposal import TAILS, Asked, Proposal, Proposer
from warmexp.tasks.task import TaskQuestion

_BATCH = 256  # questions whose similarities to the whole pool are held at once


@dataclass
class RetrievalProposer(Proposer):
    """argmax_j cos(tfidf(question), tfidf(question_j)) over the first `pool` questions of the task's training split;
    ties go to the first.

    Terms are single words and pairs of them, numbers included; weights are 1 + ln(count) times the smoothed inverse
    document frequency (scikit-learn's TfidfVectorizer). The index holds training questions only, and a question is
    never answered with the solution of one that has the same id or the same text, so the training split itself is
    decoded leave-one-out. Nothing in common with any question: an empty proposal. pool: how many training questions are
    indexed. tail: see proposal.py.
    """

    pool: int = 7473
    tail: str = "mask"

    def __post_init__(self) -> None:
        check_range("proposer.pool", self.pool, 1, 10**7, "the number of training questions to retrieve from")
        check_choice("proposer.tail", self.tail, TAILS)
        self._task: Any = None

    def bind(self, backbone, canvas_length: int, task) -> None:
        self._task = task

    @cached_property
    def indexed(self) -> list[TaskQuestion]:
        """The pool.

        Raises:
            UserError: the task has no training split to give.
        """
        training = getattr(self._task, "training", None)
        if training is None:
            raise UserError(
                "proposer=retrieval needs a task with a training split: choose task=lab, task=gsm8k, or task=jsonl with"
                " task.training_path, or another proposer."
            )
        found = training(self.pool)
        if not found:
            raise UserError(
                "proposer=retrieval found no training questions: check the task's training split, or choose another"
                " proposer."
            )
        return found

    def identity(self) -> dict[str, Any]:
        rows = [[q.id, _text(q), q.solution] for q in self.indexed]
        digest = hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()
        return {"kind": "retrieval", "pool": len(rows), "pool_sha256": digest[:16]}

    def propose(self, questions: list[Asked], device: str, seed: int, progress) -> Iterator[tuple[str, Proposal]]:
        from sklearn.feature_extraction.text import TfidfVectorizer  # takes a second to import

        started = time.perf_counter()
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+")
        # Fitted on the pool alone, so what a question retrieves does not depend on what else is asked.
        rows = words.fit_transform([_text(q) for q in self.indexed])
        same: dict[str, list[int]] = {}
        for i, question in enumerate(self.indexed):
            same.setdefault(_normal(_text(question)), []).append(i)
        ids = {q.id: i for i, q in enumerate(self.indexed)}
        build = (time.perf_counter() - started) / max(1, len(questions))
        for first in range(0, len(questions), _BATCH):
            batch = questions[first : first + _BATCH]
            started = time.perf_counter()
            cosines = (
                words.transform([_text(q) for q in batch]) @ rows.T
            ).toarray()  # [batch, pool]; rows have length 1
            for row, question in zip(cosines, batch, strict=True):
                row[same.get(_normal(_text(question)), [])] = 0.0
                if question.id in ids:
                    row[ids[question.id]] = 0.0
            best = cosines.argmax(1)
            seconds = build + (time.perf_counter() - started) / len(batch)
            for row, j, question in zip(cosines, best.tolist(), batch, strict=True):
                yield question.id, Proposal(self.indexed[j].solution if row[j] > 0 else "", seconds=seconds)
            progress(first + len(batch), len(questions))


def _text(question: TaskQuestion | Asked) -> str:
    """The bare question, or the whole prompt of a task that does not give it."""
    return question.question or question.prompt


def _normal(text: str) -> str:
    """Letter case and white space do not make two questions different."""
    return re.sub(r"\s+", " ", text).strip().casefold()
