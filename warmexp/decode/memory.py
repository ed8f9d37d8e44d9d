"""A memory of forwards: runs of a study that differ in τ, in the draws that are kept or in a remask rate read the same canvases until
their first different commit, and one process need not compute these twice.

What is kept of a row's forward is what the loop read from it, the tokens and their probabilities, under a digest of everything that it was
computed from. A remembered forward is a forward: it is in NFE and in every other count, and in a question's seconds with what it took
when it was computed, so a run's point on the plane does not depend on the runs before it.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from warmexp.decode.meter import Forward, LedgerRow, Meter, Said
from warmexp.models.wanted import download, upload

BUDGET = 512 << 20  # bytes
_ENTRY = 600  # bytes that Python spends on an answer and its key


@dataclass(frozen=True, slots=True)
class Answer:
    """What a row's forward said, in the order in which it was asked, and the row's share of the seconds that it took."""

    token: np.ndarray
    probability: np.ndarray
    seconds: float
    choosing: float


@dataclass
class Memory:
    """Answers by digest, of one backbone on one device. budget: bytes; the answers that were not asked for longest leave first."""

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

    Only `read` is answered, and only where everything is computed: with kept keys and values a row also depends on its past, and of
    logits nothing is kept. On a GPU it waits for every forward.
    """

    memory: Memory = field(default_factory=Memory)

    @torch.inference_mode()
    def read(self, request: Forward, questions: tuple[str, ...], asked: Tensor) -> Said:
        if request.window is not None:
            return super().read(request, questions, asked)
        keys = digests(request, asked)
        answers = [self.memory.get(key) for key in keys]
        fresh = [i for i, answer in enumerate(answers) if answer is None]
        if fresh:
            part = slice(None) if len(fresh) == len(keys) else torch.tensor(fresh)
            for i, answer in zip(fresh, self._compute(request, part, tuple(questions[i] for i in fresh), asked), strict=True):
                answers[i] = answer
                self.memory.put(keys[i], answer)
        for i in sorted(set(range(len(keys))) - set(fresh)):
            self._enter(_remembered(request, questions, answers[i], i))
        token, probability = (np.concatenate([getattr(a, name) for a in answers]) for name in ("token", "probability"))
        return Said(upload(token, asked.device), upload(probability, asked.device))

    def _compute(self, request: Forward, rows: slice | Tensor, questions: tuple[str, ...], asked: Tensor) -> list[Answer]:
        wanted, part = request.of(rows)
        said = super().read(part, questions, asked[wanted])
        started = time.perf_counter()
        read = self.fetch([said.token, said.probability])
        self._chose(time.perf_counter() - started)  # a GPU is waited for here, and what is remembered costs what it took
        cost, ends = self.ledger[-1], _ends(part)
        shares = (cost.seconds / len(questions), cost.choosing / len(questions))
        pieces = (np.split(t.numpy(), ends[:-1]) for t in read)
        return [Answer(t.copy(), p.copy(), *shares) for t, p in zip(*pieces, strict=True)]


def digests(request: Forward, asked: Tensor) -> list[bytes]:
    """A digest per row of all that the answer depends on besides the weights: its tokens, what is fed in the place of their embeddings,
    and what is asked about which positions, hidden or not."""
    (ids, asked), ends = download([request.ids, asked]), _ends(request)
    ids = ids.numpy()
    hidden = torch.zeros_like(request.row, dtype=torch.bool) if request.hidden is None else request.hidden
    wanted = np.split(torch.stack((request.position, asked, hidden.long()), 1).numpy(), ends[:-1])
    parts = [[ids[i, :length], wanted[i]] for i, length in enumerate(request.lengths.tolist())]
    if request.mixed is not None:
        for i, mixed in enumerate(request.mixed.cpu()):
            if mixed.any():
                parts[i] += [mixed.nonzero().numpy(), request.embeddings[i, mixed.to(request.ids.device)].cpu().view(torch.uint8).numpy()]
    return [_digest(part) for part in parts]


def _digest(parts: list[np.ndarray]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part.shape[0].to_bytes(4, "little"))
        digest.update(np.ascontiguousarray(part))
    return digest.digest()


def _ends(request: Forward) -> list[int]:
    """Where each row's wanted positions end among the R, which are in the order of the rows."""
    return request.row.bincount(minlength=len(request.lengths)).cumsum(0).tolist()


def _remembered(request: Forward, questions: tuple[str, ...], answer: Answer, i: int) -> LedgerRow:
    computed, length = int(request.computed[i]), int(request.lengths[i])
    return LedgerRow(request.kind, (questions[i],), (computed,), (length,), (False,), answer.seconds, answer.choosing, remembered=True)
