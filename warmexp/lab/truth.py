"""Token-wise truth on the lab: a text is right as long as it begins some correct solution of its question.

The lab's problems are generated, so all their correct solutions can be written down: each step in either wording, the
operands of a sum or a product in either order. Real tasks have no such thing; there only answers can be checked.
Questions of the long lab, whose ids begin with `long-`, are judged as `warmexp.lab.long.truth` says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, product, takewhile

from warmexp.lab.long.truth import follow
from warmexp.lab.problems import SPLITS, Step, draw
from warmexp.lab.splits import apply

_ID = re.compile(rf"lab-({'|'.join(SPLITS)})-(\d+)")


@lru_cache(maxsize=4096)
def solutions(question: str) -> tuple[str, ...]:
    """Every correct solution of the lab question with this id, without a space in front.

    Raises:
        ValueError: the id is not one of the lab's.
    """
    found = _ID.fullmatch(question)
    if not found:
        raise ValueError(f"{question} is not the id of a lab question")
    steps = draw(found[1], int(found[2]))[1]
    results: list[int] = []
    lines = []
    for step in steps:
        operands = tuple(value if value >= 0 else results[-value - 1] for value in (step.left, step.right))
        results.append(apply(operands[0], step.op, operands[1]))
        lines.append(_sentences(step, operands, results[-1]))
    return tuple("\n".join([*chosen, f"#### {results[-1]}"]) for chosen in product(*lines))


def _sentences(step: Step, operands: tuple[int, int], result: int) -> list[str]:
    orders = [operands, operands[::-1]] if step.op in "+x" else [operands]
    return [form.format(eq=f"{a} {step.op} {b} = {result}", c=result) for form in step.forms for a, b in orders]


def right_until(question: str, text: str) -> int:
    """How many characters of a response begin some correct solution; spaces in front of it count as right."""
    shift = len(text) - len(text.lstrip(" "))
    body = text[shift:]
    if question.startswith("long-"):
        return shift + follow(question, body)[0]
    return shift + max(_common(body, solution) for solution in solutions(question))


def _common(one: str, other: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def right_tokens(question: str, pieces: Sequence[str]) -> list[bool]:
    """For each piece of a response, in order, whether the text up to its end begins some correct solution."""
    until = right_until(question, "".join(pieces))
    return [end <= until for end in accumulate(len(piece) for piece in pieces)]


def is_solution(question: str, text: str) -> bool:
    """Whether a whole response is a correct solution, white space around it aside."""
    if question.startswith("long-"):
        return follow(question, text.strip()) == (len(text.strip()), True)
    return text.strip() in solutions(question)
