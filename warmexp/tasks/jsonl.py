"""Questions of one's own: a JSONL file, and a regular expression that finds the answer in a response."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import regex

from warmexp.errors import UserError
from warmexp.jsonl import MOST_OF_AN_ID, Row, check_once
from warmexp.models.files import named
from warmexp.tasks.data import read_file
from warmexp.tasks.score import INVALID, exact_match
from warmexp.tasks.task import TaskQuestion, check_prompt, subset

# Seconds that a pattern may look at one text: `(a|aa)+$` would look at forty letters for days.
PATIENCE = 5.0
# What `regex` writes out one after the other: `(?:a{9999}){9999}` would take minutes and gigabytes to compile.
LARGEST = 100_000


@dataclass
class JsonlTask:
    """path: one object per line, its question in `question_field` and its reference in `answer_field`.
    limit, subset_seed: see task.subset. prompt: text around the question. stop: strings that end a response.

    pattern: a regular expression whose first group (or whose whole match, if it has no group) is the answer. The
    `strict` filter takes its first match in a response, the `flexible` one its last. A reference in which the pattern
    matches is a solution whose last match is the target; any other reference is the target as it stands. Answers are
    compared as GSM8K's are (`score.exact_match`): without commas and dollar signs, a full stop at the end and the
    difference of capital letters.

    A question's id is its field `id` where it has one, else its line's number; the draws of a run are keyed by it.

    training_path: a file of the same form that is the training split, from which proposer=retrieval and
    python -m warmexp.frequencies read; it changes nothing else.
    """

    path: str
    question_field: str = "question"
    answer_field: str = "answer"
    pattern: str = "#### (\\S+)"
    limit: int | None = None
    subset_seed: int | None = None
    prompt: str = "Question: {question}\nAnswer:"
    stop: list[str] = field(default_factory=lambda: ["Question:"])
    training_path: str | None = None

    def __post_init__(self) -> None:
        check_prompt("task.prompt", self.prompt)
        subset([], self.limit, self.subset_seed)
        if _unrolled(self.pattern) > LARGEST:
            raise UserError(
                f"task.pattern={named(self.pattern)} repeats what it repeats, more than {LARGEST:,} times in all: use"
                " smaller numbers in braces."
            )
        try:
            regex.compile(self.pattern)
        except (regex.error, RecursionError) as error:
            raise UserError(
                f"task.pattern={named(self.pattern)} is not a regular expression ({error}): escape special characters."
            ) from None

    @cached_property
    def _regex(self) -> regex.Pattern[str]:
        return regex.compile(self.pattern)

    def identity(self) -> dict[str, Any]:
        return {"kind": "jsonl", "pattern": self.pattern, "prompt": self.prompt, "stop": list(self.stop)}

    def load(self) -> list[TaskQuestion]:
        return subset(self._read("task.path", self.path, "jsonl-"), self.limit, self.subset_seed)

    def training(self, limit: int) -> list[TaskQuestion]:
        """The first `limit` questions of `training_path`.

        Raises:
            UserError: there is none.
        """
        if self.training_path is None:
            raise UserError(
                "task=jsonl has no training split: give task.training_path=FILE.jsonl, whose lines are like those of"
                " task.path."
            )
        return self._read("task.training_path", self.training_path, "jsonl-train-")[:limit]

    def _read(self, key: str, path: str, named: str) -> list[TaskQuestion]:
        rows = read_file(key, path, (self.question_field, self.answer_field))
        numbered = [self._question(f"{named}{i:05d}", row) for i, row in enumerate(rows)]
        check_once(
            [(question.id, row) for question, row in zip(numbered, rows, strict=True)],
            "give every question one of its own",
        )
        return numbered

    def _question(self, numbered: str, row: Row) -> TaskQuestion:
        solution, question = row.text(self.answer_field), row.text(self.question_field)
        found = self._found(solution)
        target = found[-1] if found else solution.strip()
        if not target:
            raise UserError(
                f'{row.where}: task.pattern finds an empty answer in "{self.answer_field}", as it would in a response'
                " that says nothing: let it find at least one character."
            )
        prompt = self.prompt.replace("{question}", question)
        name = row.text("id") if "id" in row.values else numbered
        if not 1 <= len(name) <= MOST_OF_AN_ID:
            raise UserError(
                f'{row.where}: "id" has {len(name)} characters: give it 1 to {MOST_OF_AN_ID}, or leave it out.'
            )
        return TaskQuestion(name, prompt, solution, target, question)

    def _found(self, text: str) -> list[str]:
        try:
            found = list(self._regex.finditer(text, timeout=PATIENCE))
        except TimeoutError:
            raise UserError(
                f"task.pattern={self.pattern} looks at a text of {len(text)} characters for more than {PATIENCE:g}"
                " seconds: write it so that it finds a text in one way only (not `(a|aa)+`)."
            ) from None
        return [(match[1] if self._regex.groups else match[0]) or "" for match in found]

    def extract(self, text: str) -> dict[str, str]:
        found = self._found(text)
        return {"strict": found[0], "flexible": found[-1]} if found else {"strict": INVALID, "flexible": INVALID}

    def matches(self, extracted: str, target: str) -> bool:
        return exact_match(extracted, target)


_PARTS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(\d+)(?:,\d*)?\}|.", re.DOTALL)


def _unrolled(pattern: str) -> int:
    """How many characters a pattern is, with what it repeats written out as often as it has to be there."""
    open_, last = [0], 0  # of every group that is open; of the last part
    for part in _PARTS.finditer(pattern):
        if part[0] == "(":
            open_.append(0)
        elif part[0] == ")" and len(open_) > 1:
            last = open_.pop()
            open_[-1] += last
        elif part[1] is not None:
            more = last * max(0, int(part[1]) - 1)
            last, open_[-1] = last + more, open_[-1] + more
        else:
            last = 1
            open_[-1] += 1
    return sum(open_)
