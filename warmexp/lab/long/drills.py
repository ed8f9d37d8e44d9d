"""Rows of bare sums: eight times as many results per token as in a worked solution, so that the arithmetic comes early.

Without them products, of which there are few, were learnt by heart after 7,000 solutions, while 42 % of the sums and 6
% of the differences were right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from warmexp.lab.long.plots import Level

Drill = Callable[[Any, np.random.Generator], tuple[str, str]]

LINES = 14  # sums in a row
FORMS = {
    "+": ("{a} + {b} =", "Since {a} + {b} =", "Add {a} and {b} to get"),
    "-": ("{a} - {b} =", "Since {a} - {b} =", "Take {b} from {a} to get"),
    "x": ("{a} x {b} =", "Since {a} x {b} =", "Multiply {a} by {b} to get"),
    "/": ("{a} / {b} =", "Since {a} / {b} =", "Divide {a} by {b} to get"),
}
SHARES = {"+": 0.42, "-": 0.42, "x": 0.1, "/": 0.06}


def draw_sum(level: Level, rng: np.random.Generator) -> tuple[int, str, int, int]:
    """(left, operation, right, result), none of them above the level's limit."""
    op = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    if op in "x/":
        n, each = (int(rng.integers(low, high + 1)) for low, high in (level.times, level.each))
        n = max(1, min(n, level.limit // each))
        left, right = (n, each) if rng.random() < 0.5 else (each, n)
        return (left, op, right, n * each) if op == "x" else (n * each, op, left, right)
    total = int(rng.integers(3, level.limit + 1))
    part = (
        int(rng.integers(1, total))
        if rng.random() < 0.5
        else min(total - 1, int(rng.integers(level.change[0], level.change[1] + 1)))
    )
    left, right = (part, total - part) if rng.random() < 0.5 else (total - part, part)
    return (left, op, right, total) if op == "+" else (total, op, right, left)


def drill(level: Level, rng: np.random.Generator) -> tuple[str, str]:
    """A sum without its result, and the result with the line's end."""
    a, op, b, c = draw_sum(level, rng)
    return str(rng.choice(FORMS[op])).format(a=a, b=b), f" {c}.\n"


def rows(
    tokenizer: PreTrainedTokenizerFast, level: Any, size: int, rng: np.random.Generator, draw: Drill = drill
) -> tuple[np.ndarray, np.ndarray]:
    """ids [B, T], filled up with end-of-text, and where the results stand [B, T] (their digits and the line's end)."""
    parts = []
    for _ in range(size * LINES):
        parts += draw(level, rng)
    ids = tokenizer(parts)["input_ids"]
    end = tokenizer.eos_token_id
    full = [[t for part in ids[k : k + 2 * LINES] for t in part] for k in range(0, len(ids), 2 * LINES)]
    result = [
        [n % 2 for n, part in enumerate(ids[k : k + 2 * LINES]) for _ in part] for k in range(0, len(ids), 2 * LINES)
    ]
    longest = max(map(len, full))
    return (
        np.array([row + [end] * (longest - len(row)) for row in full]),
        np.array([row + [0] * (longest - len(row)) for row in result], dtype=bool),
    )
