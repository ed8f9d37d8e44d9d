"""The labs' word problems: small sums in GSM8K's shape, generated, with fixed splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, ClassVar

from warmexp.errors import check_choice
from warmexp.tasks.score import NumberScoring
from warmexp.tasks.task import TaskQuestion, check_prompt, subset


@dataclass
class GeneratedTask(NumberScoring):
    """The questions of a generator, for a lab of one's own too; `kind` keeps its runs apart from others.

    split: train, calibration or test. limit, subset_seed: see task.subset. prompt: text around the question. stop: cuts
    a response."""

    kind: ClassVar[str]

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
        """A module with `SPLITS` and `load(split, limit)`."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        return {"kind": self.kind, "prompt": self.prompt, "stop": list(self.stop)}

    def load(self) -> list[TaskQuestion]:
        problems = self.generator().load(self.split, self.limit if self.subset_seed is None else None)
        chosen = subset(problems, self.limit, self.subset_seed)
        return [
            TaskQuestion(p.id, self.prompt.replace("{question}", p.question), p.solution, p.answer, p.question)
            for p in chosen
        ]

    def training(self, limit: int) -> list[TaskQuestion]:
        """The first `limit` questions of the training split, whatever split this task reads."""
        return replace(self, split="train", limit=limit, subset_seed=None).load()


@dataclass
class LabTask(GeneratedTask):
    """The quick lab's: one to three steps, with a truth of every token."""

    kind: ClassVar[str] = "lab"

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

    @staticmethod
    def generator() -> ModuleType:
        from warmexp.lab.long import problems

        return problems
