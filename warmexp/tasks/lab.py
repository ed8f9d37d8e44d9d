"""The labs' word problems: small sums in GSM8K's shape, generated, with fixed splits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from types import ModuleType
from typing import Any, ClassVar

from warmexp.errors import check_choice
from warmexp.lab.splits import Problem
from warmexp.tasks.score import NumberScoring
from warmexp.tasks.task import TaskQuestion, check_prompt, subset


@dataclass
class GeneratedTask(NumberScoring):
    """The questions of a generator, for a lab of one's own too; `kind` keeps its runs apart from others.

    split: train, calibration or test. limit, subset_seed: see task.subset. prompt: text around the question. stop: cuts
    a response."""

    kind: ClassVar[str]
    trained_on: ClassVar[int] = 0  # the training stream up to this index, by the backbone that is shipped

    split: str = "test"
    limit: int | None = None
    subset_seed: int | None = None
    prompt: str = "Question: {question}\nAnswer:"
    stop: list[str] = field(default_factory=lambda: ["Question:"])

    def __post_init__(self) -> None:
        check_choice("task.split", self.split, self.generator().SPLITS)
        check_prompt("task.prompt", self.prompt)
        subset([], self.limit, self.subset_seed)

    @staticmethod
    def generator() -> ModuleType:
        """A module with `SPLITS`, `load(split, limit)` and `stream(start)`."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        return {"kind": self.kind, "prompt": self.prompt, "stop": list(self.stop)}

    def load(self) -> list[TaskQuestion]:
        problems = self.generator().load(self.split, self.limit if self.subset_seed is None else None)
        return self._asked(subset(problems, self.limit, self.subset_seed))

    def _asked(self, problems: Iterable[Problem]) -> list[TaskQuestion]:
        return [
            TaskQuestion(p.id, self.prompt.replace("{question}", p.question), p.solution, p.answer, p.question)
            for p in problems
        ]

    def training(self, limit: int) -> list[TaskQuestion]:
        """The first `limit` questions of the training split, whatever split this task reads."""
        return replace(self, split="train", limit=limit, subset_seed=None).load()

    def unseen(self, limit: int) -> list[TaskQuestion]:
        """As many of it that the shipped backbone was not trained on."""
        return self._asked(p for _, p in islice(self.generator().stream(self.trained_on), limit))


@dataclass
class LabTask(GeneratedTask):
    """The quick lab's: one to three steps, with a truth of every token."""

    kind: ClassVar[str] = "lab"
    trained_on: ClassVar[int] = 160_000  # of 80,000 problems, some of which are held out

    @staticmethod
    def generator() -> ModuleType:
        from warmexp.lab import problems

        return problems

    def right_tokens(self, question: str, pieces: Sequence[str], ended: bool) -> int:
        """See task.Task."""
        from warmexp.lab.truth import is_solution, right_tokens

        right = sum(right_tokens(question, pieces))
        return right + (ended and right == len(pieces) and is_solution(question, "".join(pieces)))


@dataclass
class LongLabTask(LabTask):
    """The same of the long lab: two to eight steps, answers of 43 to 178 tokens."""

    kind: ClassVar[str] = "lab_long"
    trained_on: ClassVar[int] = 1_000_000  # of 200 pools of 4,000

    @staticmethod
    def generator() -> ModuleType:
        from warmexp.lab.long import problems

        return problems
