"""Canvases that change their length, one question at a time: a canvas is a list of slots, and a slot keeps what it has
wherever it goes (DAEDAL, arXiv 2508.00819; ρ-EOS, 2601.22527)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from tests.reference.decoder import softmax, splitmix64
from tests.reference.transformer import ReferenceTransformer
from warmexp.rng import bits


@dataclass
class Slot:
    """birth: the number that its draws go by."""

    birth: int
    token: int | None = None
    source: str = "mask"
    committed: int = -1
    confidence: float | None = None


@dataclass
class Tape:
    """A question being decoded, on at most `longest` slots in blocks of `width`. end: the end token, 0."""

    model: ReferenceTransformer
    question: str
    prompt: tuple[int, ...]
    longest: int
    width: int
    mask_id: int
    shifted: bool
    tau: float
    temperature: float
    slots: list[Slot]
    end: int = 0
    start: int = 0
    nfe: int = 0
    token_forwards: int = 0
    moves: list[tuple[int, int, int]] = field(default_factory=list)
    behind: list[int] = field(default_factory=list)  # births of places that the canvas does not have
    births: int = 0

    def __post_init__(self) -> None:
        self.behind, self.births = list(range(len(self.slots), self.longest)), self.longest

    def read(self) -> list[np.ndarray]:
        """[V] each, the logits of every slot."""
        row = [*self.prompt, *(self.mask_id if slot.token is None else slot.token for slot in self.slots)]
        first = len(self.prompt) - self.shifted
        z = self.model.logits(self.model.embed(row))[first : first + len(self.slots)].copy()
        z[:, self.mask_id] = -np.inf
        self.token_forwards += len(row)
        return list(z)

    def tail(self, z: list[np.ndarray], look: int) -> float:
        """How sure the end of the canvas is that it is the end."""
        found: list[float] = []
        for logits in reversed(z):
            if len(found) < look and int(logits.argmax()) == self.end:
                found.append(float(softmax(logits)[self.end]))
        return sum(found) / look

    def commit(self, z: list[np.ndarray]) -> dict[int, float]:
        """τ or the best, in the first block at or behind the window with a mask; the confidences of the masks that are
        left there."""
        self.start = next(
            i // self.width * self.width for i, s in enumerate(self.slots) if s.token is None and i >= self.start
        )
        said = {}
        for i in range(self.start, min(self.start + self.width, len(self.slots))):
            if self.slots[i].token is None:
                p = softmax(z[i])
                token = int(z[i].argmax())
                if self.temperature:
                    birth = self.slots[i].birth
                    state = int(bits(0, self.question, "gumbel", birth + 1, step=self.nfe)[birth])
                    noise = [-math.log(-math.log(splitmix64(state, v))) for v in range(len(p))]
                    token = int(np.argmax(z[i] / self.temperature + np.array(noise)))
                said[i] = (float(p[token]), token)
        best = max(said, key=lambda i: (said[i][0], -i))
        passed = {i for i in said if said[i][0] >= self.tau} or {best}
        for i in passed:
            slot = self.slots[i]
            slot.confidence, slot.token = said[i]
            slot.source, slot.committed = "decoded", self.nfe
        return {i: one[0] for i, one in said.items() if i not in passed}

    def insert(self, place: int, count: int) -> None:
        if place == len(self.slots):
            self.slots += [Slot(self.behind.pop(0)) for _ in range(count)]
        else:
            self.slots[place:place] = [Slot(self.births + i) for i in range(count)]
            self.births += count
            del self.behind[len(self.behind) - count :]
        self.moves.append((self.nfe, place, count))

    def cut(self, count: int) -> None:
        gone = self.slots[len(self.slots) - count :]
        del self.slots[len(self.slots) - count :]
        self.behind[:0] = [slot.birth for slot in gone]
        self.moves.append((self.nfe, len(self.slots), -count))

    @property
    def open(self) -> bool:
        return any(slot.token is None for slot in self.slots)


def daedal(tape: Tape, target: float, ready: float, low: float, step: int, look: int, tail: int) -> Tape:
    while target > 0:
        sure = tape.tail(tape.read(), look)
        tape.nfe += 1
        if sure >= target or len(tape.slots) >= tape.longest:
            break
        more = min(step, tape.longest - len(tape.slots))
        tape.moves.append((tape.nfe - 1, len(tape.slots), more))
        for _ in range(more):
            tape.slots.append(Slot(tape.behind.pop(0)))
    more = min(tail, tape.longest - len(tape.slots))
    if more and tape.nfe:
        tape.moves.append((tape.nfe - 1, len(tape.slots), more))
    for _ in range(more):
        tape.slots.append(Slot(tape.behind.pop(0), tape.end, "fixed"))
    while tape.open:
        z = tape.read()
        sure = tape.tail(z, look)
        left = tape.commit(z)
        weak = min(left, key=lambda i: (left[i], i), default=None)
        room = tape.longest - len(tape.slots)
        if weak is not None and left[weak] < low and sure < ready and room and step > 1:
            tape.insert(weak, min(step - 1, room))
        tape.nfe += 1
    return tape


def rho_eos(
    tape: Tape, signal: str, low: float, high: float, step: int, growth: str, moves: int, look: int
) -> Tape:  # fmt: skip
    turns, filled = 0, False
    while tape.open:
        z = tape.read()
        masks = [i for i, slot in enumerate(tape.slots) if slot.token is None]
        if signal == "density":
            rho = sum(int(z[i].argmax()) == tape.end for i in masks) / len(masks)
        else:
            rho = tape.tail(z, look)
        filled = filled or len(tape.slots) >= tape.longest
        tape.commit(z)
        gap = max(low - rho, rho - high)
        if gap > 0 and not filled and turns < moves:
            tenths = math.ceil(round(10 * gap, 6))
            factor = {"const": 1, "linear": tenths, "exp": 2 ** (tenths - 1)}[growth]
            count = step * min(8, factor)
            if rho < low:
                ends = [i for i, slot in enumerate(tape.slots) if slot.token == tape.end]
                place = min(max(ends[0] if ends else len(tape.slots), tape.start), len(tape.slots))
                tape.insert(place, min(count, tape.longest - len(tape.slots)))
            elif len(tape.slots) > 1:
                tape.cut(min(count, len(tape.slots) - 1))
        tape.nfe += 1
        turns += 1
    return tape
