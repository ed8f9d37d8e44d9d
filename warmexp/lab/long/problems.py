"""Word problems of two to eight steps: an opening line, one line per step, a closing line, a line `#### answer`.

A problem is a pure function of (split, index, level). A solution comes in one of three wordings, drawn once per answer,
because a wording drawn per line leaves no continuation that a model could be sure of. Steps that do not need each other
may come in either order, so that two right solutions differ. Some questions state numbers that nothing needs.

This module knows nothing about tokens or models.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from warmexp.lab.long.plots import Level, Step, Tale, tell
from warmexp.lab.splits import Problem, Slip, Splits, apply, slips

# The salts keep the three streams apart; the sizes are what `load` returns. 1,319 is the size of GSM8K's test split.
SPLITS = {"train": 2_000_000, "calibration": 512, "test": 1_319}

PLAIN, SINCE, ORDERS = 0, 1, 2
# Of the backbone's training texts; a proposer is trained on a mix of its own (see the recipe).
SHARES = (0.55, 0.35, 0.10)
# Of the solutions so many keep the question's order of steps; the others take any order in which nothing is used before
# it is known.
IN_ORDER = 0.75

EASY = Level(steps=(2, 3), limit=40, change=(1, 9), times=(2, 5), each=(2, 9), distractors=0.2)
MIDDLE = Level(steps=(2, 5), limit=70, change=(1, 9), times=(2, 6), each=(2, 9), distractors=0.3)
FULL = Level(steps=(2, 8), limit=99, change=(2, 15), times=(2, 6), each=(2, 12), distractors=0.4)
LEVELS = {"easy": EASY, "middle": MIDDLE, "full": FULL}

COMPUTED = re.compile(r"(?: =| to get) (\d+)")  # what a step computes, in all wordings
# What a step computes with, where the line has said which step it is before: in the plain wording.
CHOSEN = re.compile(r"(?<!Since )(?<!\d)(\d+) [-+x/] (\d+) =")

_ORDERS = {
    "+": "Add {a} and {b} to get {c} for {label}.",
    "-": "Take {b} from {a} to get {c} for {label}.",
    "x": "Multiply {a} by {b} to get {c} for {label}.",
    "/": "Divide {a} by {b} to get {c} for {label}.",
}


def opening(tale: Tale, wording: int) -> str:
    goal = tale.goal
    return (f"We want to know {goal}.", f"Let us find out {goal}.", f"This is about {goal}.")[wording]


def closing(answer: str, wording: int) -> str:
    return (f"So the answer is {answer}.", f"That means the answer is {answer}.", f"The result is {answer}.")[wording]


def line(step: Step, left: int, op: str, right: int, result: int, wording: int) -> str:
    """One step written out; `left op right = result` may be wrong (a slip)."""
    equation = f"{left} {op} {right} = {result}"
    if wording == PLAIN:
        clause = step.clause.format(equation)
        return f"{clause[0].upper()}{clause[1:]}."
    if wording == SINCE:
        return f"Since {equation}, {step.clause.format(result)}."
    return _ORDERS[op].format(a=left, b=right, c=result, label=step.label)


def needs(step: Step) -> set[int]:
    """The steps (counted from 0) whose results this one uses."""
    return {-v - 1 for v in (step.left, step.right) if v < 0}


def any_order(steps: list[Step], r: random.Random) -> list[int]:
    """A random order of the steps in which nothing is used before it is known; the last step, which gives the answer,
    uses all others."""
    order: list[int] = []
    while len(order) < len(steps):
        ready = [k for k, s in enumerate(steps) if k not in order and needs(s) <= set(order)]
        order.append(r.choice(ready))
    return order


def write(tale: Tale, wording: int, order: list[int] | None = None, slip: Slip | None = None) -> tuple[str, str]:
    """Write the solution out.

    Args:
        order: of the steps, counted from 0; the question's by default.
        slip: maps (left, op, right) to (left, op, right, result) and may make mistakes, which later steps then build
        on.
    Returns:
        the solution and its final answer.
    """
    results: dict[int, int] = {}
    lines = [opening(tale, wording)]
    for k in order if order is not None else range(len(tale.steps)):
        step = tale.steps[k]
        left, right = (v if v >= 0 else results[-v - 1] for v in (step.left, step.right))
        op, result = step.op, apply(left, step.op, right)
        if slip is not None:
            left, op, right, result = slip(left, op, right)
        results[k] = result
        lines.append(line(step, left, op, right, result, wording))
        last = result
    return "\n".join([*lines, closing(str(last), wording), f"#### {last}"]), str(last)


def draw(split: str, index: int, level: Level = FULL) -> tuple[Tale, random.Random]:
    """The tale and the generator that goes on to choose order and wording."""
    r = random.Random(f"warmexp-long-lab-1:{split}:{index}")
    return tell(r, level), r


def _manner(tale: Tale, r: random.Random, shares: tuple[float, ...]) -> tuple[int, list[int]]:
    wording = r.choices(range(len(shares)), shares)[0]
    order = list(range(len(tale.steps))) if r.random() < IN_ORDER else any_order(tale.steps, r)
    return wording, order


def make(split: str, index: int, shares: tuple[float, ...] = SHARES, level: Level = FULL) -> Problem:
    """The problem at (split, index)."""
    tale, r = draw(split, index, level)
    solution, answer = write(tale, *_manner(tale, r, shares))
    return Problem(f"long-{split}-{index:07d}", tale.question, solution, answer)


def slipped(split: str, index: int, shares: tuple[float, ...] = SHARES, level: Level = FULL) -> str:
    """A solution of the same problem, in the same wording and order, with mistakes such as a weak proposer makes (for
    training states)."""
    tale, r = draw(split, index, level)
    wording, order = _manner(tale, r, shares)
    slip = slips(r, tale.question, 0.15, 0.05, 0.25, (-10, -3, -2, -1, 1, 2, 3, 10))
    if r.random() < 0.1:
        wording = r.randrange(len(shares))
    if r.random() < 0.1:
        order = any_order(tale.steps, r)
    return write(tale, wording, order, slip)[0]


def kind(split: str, index: int, level: Level = FULL) -> str:
    """The plot of the problem there."""
    return draw(split, index, level)[0].plot


def operation(text: str) -> str:
    """Of the last line's sum, whose result follows."""
    words = text.split("\n")[-1].split()
    return next(
        (w for w in reversed(words) if w in "+-x/"),
        {"Add": "+", "Take": "-", "Multiply": "x", "Divide": "/"}.get(words[0], "?"),
    )


_LAB = Splits(SPLITS, make)
load = _LAB.load


def stream(start: int = 0, shares: tuple[float, ...] = SHARES, level: Level = FULL) -> Iterator[tuple[int, Problem]]:
    """(index, problem) of the training stream from `start` on, without the questions held out."""
    return _LAB.stream(start, shares, level)
