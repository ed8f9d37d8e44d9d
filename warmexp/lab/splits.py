"""What the quick lab's problems and the long lab's share: the type, the three streams, and the slips of a solution with
mistakes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from warmexp.errors import UserError

# (left, op, right) -> (left, op, right, result), with or without mistakes
Slip = Callable[[int, str, int], tuple[int, str, int, int]]


@dataclass(frozen=True)
class Problem:
    """One question. `solution` ends in the line `#### answer`; `id` is stable across versions of the generator's
    callers."""

    id: str
    question: str
    solution: str
    answer: str


@dataclass(frozen=True)
class Splits:
    """sizes: the number of problems of `train`, `calibration` and `test`. make: the problem at (split, index), in a
    manner of more arguments that a training stream may choose."""

    sizes: dict[str, int]
    make: Callable[..., Problem]

    @cached_property
    def held_out(self) -> tuple[dict[str, tuple[Problem, ...]], frozenset[str]]:
        """Calibration and test problems with distinct questions, and all their questions."""
        taken: set[str] = set()
        splits = {}
        for split in ("test", "calibration"):
            chosen: list[Problem] = []
            index = 0
            while len(chosen) < self.sizes[split]:
                problem = self.make(split, index)
                index += 1
                if problem.question not in taken:
                    taken.add(problem.question)
                    chosen.append(problem)
                elif index > 100 * (len(taken) + 100):
                    raise UserError(
                        f"The generator has hardly more than {len(taken)} different questions for calibration and test"
                        f" (after {index} draws of {split}): ask for fewer in the sizes, or vary the questions more."
                    )
            splits[split] = tuple(chosen)
        return splits, frozenset(taken)

    def stream(self, start: int, *manner: Any) -> Iterator[tuple[int, Problem]]:
        """(index, problem) of the training stream from `start` on, without the questions held out."""
        held_out = self.held_out[1]
        for index in range(start, self.sizes["train"]):
            problem = self.make("train", index, *manner)
            if problem.question not in held_out:
                yield index, problem

    def load(self, split: str, limit: int | None = None) -> list[Problem]:
        """The problems of a split, in a fixed order; `limit` takes the first ones."""
        if split not in self.sizes:
            raise ValueError(f"no lab split named {split!r}; choose from {', '.join(self.sizes)}")
        if split == "train":
            return [problem for _, problem in islice(self.stream(0), limit)]
        return list(self.held_out[0][split][:limit])


def apply(left: int, op: str, right: int) -> int:
    if op == "+":
        return left + right
    if op == "-":
        return left - right
    return left * right if op == "x" else left // right


def slips(r: random.Random, question: str, operand: float, op: float, result: float, by: Sequence[int]) -> Slip:
    """Mistakes in steps. operand, op, result: how often one of the two operands is another number of the question, the
    operation is another, and the result is off, by one of `by`."""
    stated = [int(word) for word in question.translate(_MARKS).split() if word.isdigit()]

    def slip(left: int, sign: str, right: int) -> tuple[int, str, int, int]:
        if r.random() < operand:
            left = r.choice(stated)
        if r.random() < operand:
            right = r.choice(stated)
        if r.random() < op:
            sign = r.choice("+-x")
        found = apply(left, sign, right) if right else left
        if r.random() < result:
            found += r.choice(by)
        return left, sign, right, min(max(found, 0), 99)

    return slip


_MARKS = str.maketrans(".?,", "   ")
