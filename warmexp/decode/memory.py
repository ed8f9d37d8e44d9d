"""A memory of forwards: runs of a study that differ in τ, in the draws that are kept or in a remask rate read the same
canvases until their first different commit, and one process need not compute these twice.

What is kept of a row's forward is what the loop read from it, the tokens and their probabilities, under a digest of
everything that it was computed from. A remembered forward is a forward: it is in NFE and in every other count, and in a
question's seconds with what it took when it was computed, so a run's point on the plane does not depend on the runs
before it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from warmexp.decode.forward import Forward
from warmexp.decode.meter import LedgerRow, Meter

BUDGET = 512 << 20  # bytes
_ENTRY = 600  # bytes that Python spends on an answer and its key


@dataclass(frozen=True, slots=True)
class Answer:
    """What a row's forward said, in the order in which it was asked, and the row's share of the seconds that it
    took."""

    token: np.ndarray
    probability: np.ndarray
    seconds: float
    choosing: float


@dataclass
class Memory:
    """Answers by digest, of one backbone on one device. budget: bytes; the answers that were not asked for longest
    leave first."""

    budget: int = BUDGET
    size: int = 0
    _answers: OrderedDict[bytes, Answer] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: bytes) -> Answer | None:
        answer = self._answers.get(key)
        if answer is not None:
            self._answers.move_to_end(key)
        return answer

    def put(self, key: bytes, answer: Answer) -> None:
        if key not in self._answers:
            self.size += _bytes(answer)
        self._answers[key] = answer
        while self.size > self.budget:
            self.size -= _bytes(self._answers.popitem(last=False)[1])

    def clear(self) -> None:
        self._answers.clear()
        self.size = 0


def _bytes(answer: Answer) -> int:
    return answer.token.nbytes + answer.probability.nbytes + _ENTRY


@dataclass
class SharingMeter(Meter):
    """A meter that answers rows it remembers and computes the rest of a batch as a smaller one.

    Only `read` is answered, and only where everything is computed: with kept keys and values a row also depends on its
    past, and of logits nothing is kept. On a GPU it waits for every forward.
    """

    memory: Memory = field(default_factory=Memory)

    @torch.inference_mode()
    def read(self, request: Forward, questions: tuple[str, ...], asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if request.window is not None:
            return super().read(request, questions, asked)
        keys = digests(request, asked)
        known = {i: answer for i, key in enumerate(keys) if (answer := self.memory.get(key)) is not None}
        fresh = [i for i in range(len(keys)) if i not in known]
        answers = dict(known)
        if fresh:
            part = slice(None) if not known else np.array(fresh)
            made = self._compute(request, part, tuple(questions[i] for i in fresh), asked)
            for i, answer in zip(fresh, made, strict=True):
                answers[i] = answer
                self.memory.put(keys[i], answer)
        for i, answer in known.items():
            self._enter(_remembered(request, questions, answer, i))
        ordered = [answers[i] for i in range(len(keys))]
        return np.concatenate([answer.token for answer in ordered]), np.concatenate(
            [answer.probability for answer in ordered]
        )

    def _compute(
        self, request: Forward, rows: slice | np.ndarray, questions: tuple[str, ...], asked: np.ndarray
    ) -> list[Answer]:
        wanted, part = request.of(rows)
        token, probability = super().read(part, questions, asked[wanted])
        cost, ends = self.ledger[-1], _ends(part)
        shares = (cost.seconds / len(questions), cost.choosing / len(questions))
        pieces = (np.split(values, ends[:-1]) for values in (token, probability))
        return [Answer(t.copy(), p.copy(), *shares) for t, p in zip(*pieces, strict=True)]


def digests(request: Forward, asked: np.ndarray) -> list[bytes]:
    """A digest per row of all that the answer depends on besides the weights: its tokens, what is fed in the place of
    their embeddings, and what is asked about which positions, hidden or not."""
    ids, ends = request.ids.cpu().numpy(), _ends(request)
    hidden = np.zeros(len(request.row), dtype=np.int64) if request.hidden is None else request.hidden.astype(np.int64)
    wanted = np.split(np.stack((request.position, asked, hidden), 1), ends[:-1])
    parts = [[ids[i, :length], wanted[i]] for i, length in enumerate(request.lengths.tolist())]
    if request.block is not None:
        for i, first in enumerate(request.block[0]):
            parts[i].append(np.array([first, request.block[1]]))
    if request.mixed is not None and request.embeddings is not None:
        for i, mixed in enumerate(request.mixed):
            if mixed.any():
                parts[i] += [
                    mixed.nonzero()[0],
                    request.embeddings[i].cpu()[torch.from_numpy(mixed)].view(torch.uint8).numpy(),
                ]
    return [_digest(part) for part in parts]


def _digest(parts: Sequence[np.ndarray]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part.shape[0].to_bytes(4, "little"))
        digest.update(np.ascontiguousarray(part).data)
    return digest.digest()


def _ends(request: Forward) -> list[int]:
    """Where each row's wanted positions end among the R, which are in the order of the rows."""
    return np.bincount(request.row, minlength=len(request.lengths)).cumsum().tolist()


def _remembered(request: Forward, questions: tuple[str, ...], answer: Answer, i: int) -> LedgerRow:
    computed, length = int(request.computed[i]), int(request.lengths[i])
    return LedgerRow(
        request.kind,
        (questions[i],),
        (computed,),
        (length,),
        (False,),
        answer.seconds,
        answer.choosing,
        remembered=True,
        lane=() if request.lane is None else (int(request.lane[i]),),
    )
