"""Hints: parts of the reference solution stand on the canvas from the start (IGPO's inpainting, arXiv 2509.10396)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.canvas import Question, Start
from warmexp.decode.strategy import Init, Setup
from warmexp.errors import UserError, check_choice, check_range
from warmexp.rng import uniform

LAST = ("free", "drawn", "shown")


@dataclass
class Hints(Init):
    """The solution's tokens are cut into chunks of `least` to `most`; of n chunks n - ⌊n·(1 - rate)⌋, drawn at random,
    stand on the canvas as fixed tokens, and everything else is masked. An oracle: it has seen the solution, its runs
    are labelled so and stand on no front.

    A chunk that begins with the solution's token i begins at ⌊f·i⌋, f = clip((L - rest)/n, 1, stretch) for n tokens;
    nothing stands on the last `rest` positions, and what is left of the solution at its end is in no chunk if it is
    shorter than `least`.

    rate: η in [0, 1]; drawn from [0.2, 0.6] in the paper's training. least, most: 5 and 10 in the paper; the released
    code has 3 and 8, 4 and 8. stretch: ≥ 1, 1.5. rest: 30. last: whether the last chunk, which has the answer, is left
    `free` (here), `drawn` like the others, or `shown` always (a switch of the released code).
    """

    rate: float = 0.4
    least: int = 5
    most: int = 10
    stretch: float = 1.5
    rest: int = 30
    last: str = "free"
    symbols = {"rate": "η"}
    reads_proposal = True
    fixes = True

    def __post_init__(self) -> None:
        check_range("init.rate", self.rate, 0, 1, "the share of the solution's chunks that is shown")
        check_range("init.least", self.least, 1, 2**20, "a number of tokens")
        check_range("init.most", self.most, self.least, 2**20, "a number of tokens, not below init.least")
        check_range("init.stretch", self.stretch, 1, 2**20, "how far apart tokens may move, as a factor")
        check_range("init.rest", self.rest, 0, 2**20, "a number of positions")
        check_choice("init.last", self.last, LAST)

    def check(self, setup: Setup) -> None:
        super().check(setup)
        if not setup.parts["proposer"].oracle:
            raise UserError(
                f"{setup.said('init')} shows parts of the reference solution, which {setup.said('proposer')} is not:"
                " choose proposer=oracle, or init=token_inject."
            )
        if self.rest >= setup.parts["length"].canvas_length:
            raise UserError(
                f"init.rest={self.rest} leaves no position of length.canvas_length="
                f"{setup.parts['length'].canvas_length} for hints: choose a smaller init.rest."
            )

    def start(self, question: Question, length: int, seed: int) -> Start:
        room, text = max(0, length - self.rest), question.proposal[: question.written]
        solution = text[:room]
        tokens, shown = np.zeros(length, dtype=np.int64), np.zeros(length, dtype=bool)
        factor = min(max(1.0, room / max(1, len(text))), self.stretch)
        for first, past in self.chunks(question.id, len(solution), seed):
            at = int(factor * first)  # behind the chunk before, since the factor is at least 1
            end = min(at + past - first, room)
            tokens[at:end] = solution[first : first + end - at]
            shown[at:end] = True
        return Start(tokens, shown, fixed=shown)

    def chunks(self, question: str, count: int, seed: int) -> list[tuple[int, int]]:
        """The ones that are shown, [first, past) of `count` tokens."""
        sizes = self.least + (uniform(seed, question, "chunks", count) * (self.most - self.least + 1)).astype(np.int64)
        made: list[tuple[int, int]] = []
        first = 0
        while first < count and min(sizes[len(made)], count - first) >= self.least:
            past = first + int(min(sizes[len(made)], count - first))
            made.append((first, past))
            first = past
        hidden = int(len(made) * (1 - self.rate))
        order = uniform(seed, question, "hints", len(made)).argsort(kind="stable").tolist()
        drawn = set(order[hidden:])
        if made and self.last != "drawn":
            drawn = drawn | {len(made) - 1} if self.last == "shown" else drawn - {len(made) - 1}
        return [one for i, one in enumerate(made) if i in drawn]
