"""A task: questions with reference answers, the prompt around a question, and where a response stops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from warmexp.errors import UserError, check_range


@dataclass(frozen=True)
class TaskQuestion:
    """id: stable across runs, limits and orders. prompt: what models are given. solution: the reference solution.
    target: the reference answer, as the scoring filters extract it. question: the bare question without the prompt
    around it.

    turns: where the prompt is a conversation, what is said in it: user, assistant, user, …, the last one the user's.
    Models with a chat template are then given the turns, and `prompt` is the same as flat text, for models without one.
    Empty: `prompt` is one user turn.
    """

    id: str
    prompt: str
    solution: str
    target: str
    question: str = ""
    turns: tuple[str, ...] = ()


class Task(Protocol):
    """A task that knows all correct solutions of its questions may also have

    right_tokens(question: str, pieces: Sequence[str], ended: bool) -> int: of the response to the question of this id,
    token by token as text, how many tokens from the first on begin some correct solution; one more where it is `ended`
    and a whole one.
    """

    stop: list[str]

    def identity(self) -> dict[str, Any]:
        """What of the task changes a record."""

    def load(self) -> list[TaskQuestion]:
        """The chosen questions, in order."""

    def extract(self, text: str) -> dict[str, str]:
        """The answer in a response by the task's two filters, {"strict": …, "flexible": …}; "[invalid]" where one finds
        none."""

    def matches(self, extracted: str, target: str) -> bool:
        """Whether an extracted answer is the target."""


def subset(questions: Sequence, limit: int | None, subset_seed: int | None) -> list:
    """The first `limit` questions, or a random subset of that size by seed (in the original order), or all of them."""
    if limit is None:
        return list(questions)
    check_range("task.limit", limit, 1, 10**9, "the number of questions")
    if limit >= len(questions):
        return list(questions)
    if subset_seed is None:
        return list(questions[:limit])
    chosen = np.random.default_rng(subset_seed).permutation(len(questions))[:limit]
    return [questions[i] for i in sorted(chosen.tolist())]


def check_prompt(key: str, prompt: str) -> None:
    if prompt.count("{question}") != 1:
        raise UserError(f"{key}={prompt!r} must contain {{question}} exactly once.")
