"""MATH-500: the 500 test problems of MATH (arXiv 2103.03874) chosen by arXiv 2305.20050, asked as
lm-evaluation-harness's `hendrycks_math500` asks them (zero-shot; the data set has no training split to draw shots
from)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from warmexp.jsonl import Row
from warmexp.tasks.data import read_file, read_hub
from warmexp.tasks.latex import between_dollars, last_boxed, same_answer
from warmexp.tasks.score import HARNESS
from warmexp.tasks.task import TaskQuestion, check_prompt, subset


@dataclass
class Math500:
    """path: a JSONL file with `problem` and `answer` (and `solution`, where there is one); null reads `dataset` from
    the hub.
    limit, subset_seed: see task.subset. prompt: text around the problem. stop: strings that end a response (the
    harness's).

    The target is the last `\\boxed{…}` of the solution, as in the harness, or `answer` where no solution is given.
    Filters: `strict` is the harness's (what stands between the first and the last dollar sign, or the whole response);
    `flexible` is the last `\\boxed{…}`, which is where models write their answer, and what `strict` finds where there
    is none. Both are compared by `latex.same_answer`.
    """

    path: str | None = None
    dataset: str = "HuggingFaceH4/MATH-500"
    limit: int | None = None
    subset_seed: int | None = None
    prompt: str = "Problem: {question}\nAnswer:"
    stop: list[str] = field(default_factory=lambda: ["Problem:"])

    def __post_init__(self) -> None:
        check_prompt("task.prompt", self.prompt)
        subset([], self.limit, self.subset_seed)

    def identity(self) -> dict[str, Any]:
        return {
            "kind": "math500",
            "protocol": f"{HARNESS} hendrycks_math500 1",
            "prompt": self.prompt,
            "stop": list(self.stop),
        }

    def load(self) -> list[TaskQuestion]:
        rows = (
            read_hub(self.dataset, None, "test")
            if self.path is None
            else read_file("task.path", self.path, ("problem", "answer"))
        )
        numbered = [self._question(i, row) for i, row in enumerate(rows)]
        return subset(numbered, self.limit, self.subset_seed)

    def _question(self, i: int, row: Row) -> TaskQuestion:
        answer, problem = row.text("answer"), row.text("problem")
        solution = (row.text("solution") if row.values.get("solution") is not None else "") or answer
        target = last_boxed(solution)
        prompt = self.prompt.replace("{question}", problem)
        return TaskQuestion(f"math500-test-{i:05d}", prompt, solution, answer if target is None else target, problem)

    def extract(self, text: str) -> dict[str, str]:
        strict, boxed = between_dollars(text), last_boxed(text)
        return {"strict": strict, "flexible": strict if boxed is None else boxed}

    def matches(self, extracted: str, target: str) -> bool:
        return same_answer(extracted, target)
