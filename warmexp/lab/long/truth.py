"""Token-wise truth on the long lab: a text is right as long as it begins some correct solution of its question.

Correct are all solutions with the question's own steps: in any order in which nothing is used before it is known, each
line in any of the wordings, the operands of a sum or a product in either order. There are too many to write them all
down; the text chooses its way.
"""

from __future__ import annotations

import re
from functools import lru_cache

from warmexp.lab.long.plots import Step, Tale
from warmexp.lab.long.problems import SHARES, SPLITS, closing, draw, line, needs, opening
from warmexp.lab.splits import apply

_ID = re.compile(rf"long-({'|'.join(SPLITS)})-(\d+)")
_WORDINGS = range(len(SHARES))


@lru_cache(maxsize=4096)
def _tale(question: str) -> tuple[Tale, tuple[tuple[str, ...], ...], str]:
    """The tale of this id, the lines that may stand for each of its steps, its answer."""
    found = _ID.fullmatch(question)
    if not found:
        raise ValueError(f"{question} is not the id of a long lab question")
    tale = draw(found[1], int(found[2]))[0]
    results: list[int] = []
    lines = []
    for step in tale.steps:
        operands = tuple(value if value >= 0 else results[-value - 1] for value in (step.left, step.right))
        results.append(apply(operands[0], step.op, operands[1]))
        lines.append(_lines(step, operands, results[-1]))
    return tale, tuple(lines), str(results[-1])


def _lines(step: Step, operands: tuple[int, int], result: int) -> tuple[str, ...]:
    orders = [operands, operands[::-1]] if step.op in "+x" else [operands]
    return tuple(line(step, a, step.op, b, result, w) + "\n" for w in _WORDINGS for a, b in orders)


def follow(question: str, text: str) -> tuple[int, bool]:
    """How many characters of the text, which has no space in front, begin some correct solution, and whether they are a
    whole one.

    Raises:
        ValueError: the id is not one of the long lab's.
    """
    tale, lines, answer = _tale(question)
    best, whole = 0, False
    seen: set[tuple[int, frozenset[int]]] = set()
    ways = [(0, frozenset[int](), tuple(opening(tale, w) + "\n" for w in _WORDINGS), -1)]
    while ways:
        at, done, choices, step = ways.pop()
        for choice in choices:
            same = _common(text, at, choice)
            best = max(best, at + same)
            if same < len(choice):
                continue
            if step == len(lines):
                whole = True
                continue
            state = at + same, done | ({step} if step >= 0 else set())
            if state in seen:
                continue
            seen.add(state)
            ready = [k for k, s in enumerate(tale.steps) if k not in state[1] and needs(s) <= state[1]]
            ways += [(*state, lines[k], k) for k in ready]
            if not ready:
                ways.append((*state, tuple(f"{closing(answer, w)}\n#### {answer}" for w in _WORDINGS), len(lines)))
    return best, whole


def _common(text: str, at: int, choice: str) -> int:
    if text.startswith(choice, at):
        return len(choice)
    return next((k for k, c in enumerate(choice) if at + k >= len(text) or text[at + k] != c), len(choice))
