"""The meter: the only way to run a backbone forward, so NFE cannot be miscounted.

One ledger row per forward says what was computed for which question. Everything that is reported (NFE, full-forward
equivalents, token-forwards, auxiliary forwards, seconds) is a sum over the ledger; nothing counts anything anywhere
else.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from warmexp.decode.forward import Forward
from warmexp.errors import UserError
from warmexp.models.backbone import Backbone
from warmexp.models.shadow import leave_one_out
from warmexp.models.wanted import download, upload

# full: everything that is seen is computed. window, block: a part of it beside what was kept. commit: finished blocks,
# for their keys and values. aux: what is no forward of the loop. guide: of a model that is consulted (guide.py).
KINDS = ("full", "window", "block", "commit", "aux", "guide")
# Positions that are computed at once; a forward of more goes through the backbone in groups of rows, which bounds its
# activations. On a CPU arithmetic takes the time whatever the group, and a small one stays in its caches; a GPU needs
# some thousand positions to be busy.
POSITIONS = {"cpu": 352, "cuda": 8192}


@dataclass(frozen=True)
class TokenProbabilities:
    """R tokens and what a forward gives them. token: [R] long. probability: [R] float64, softmax. On the device."""

    token: Tensor
    probability: Tensor

    @classmethod
    def of(cls, logits: Tensor, token: Tensor) -> TokenProbabilities:
        """logits: [R, V] float64."""
        # In pieces: the exponentials of all rows at once would take as much memory again as the logits.
        total = torch.cat([piece.logsumexp(-1) for piece in logits.split(64)])
        return cls(token, (logits.gather(1, token[:, None])[:, 0] - total).exp())


@dataclass(frozen=True)
class LedgerRow:
    """What one forward did. Tuples run over its questions.

    query_tokens: positions computed (padding is the batch's affair and not counted); kv_tokens: positions attended to;
    no_op: the forward could change nothing for that question. seconds: inside the backbone; choosing: then spent on
    what it said, where the meter does that. remembered: nothing was computed, and the seconds are those of the forward
    whose answer was taken (memory.py). lane: which of its question's rows each is; (): every question has one. The
    first, 0, is what the question's forward is counted by.
    """

    kind: str
    questions: tuple[str, ...]
    query_tokens: tuple[int, ...]
    kv_tokens: tuple[int, ...]
    no_op: tuple[bool, ...]
    seconds: float
    choosing: float = 0.0
    remembered: bool = False
    lane: tuple[int, ...] = ()


@dataclass
class Meter:
    """Runs forwards, keeps the ledger, and reads what the loop has to know from the device.

    `seconds` of a row run from the call to the return, and where `read` waits for a GPU to that moment; what else is
    waited for, in `fetch`, is nobody's forward: whoever fetches charges it. spent: seconds that have passed in forwards
    and in choosing.
    """

    backbone: Backbone
    ledger: list[LedgerRow] = field(default_factory=list)
    spent: float = 0.0
    _sums: dict[str, QuestionSums] = field(default_factory=dict)
    # Of forwards whose logits nobody has looked at yet: how long the ledger was then, and of R logits the row (host)
    # and the sum (device), and whose they are.
    _doubted: list[tuple[int, np.ndarray, Tensor, Backbone]] = field(default_factory=list)

    @torch.inference_mode()
    def forward(self, request: Forward, questions: tuple[str, ...], model: Backbone | None = None) -> Tensor:
        """Run one forward for `questions` (one per row of the request) and enter it in the ledger.

        Args:
            model: whose, the backbone's by default.
        Returns:
            [R, vocabulary] float64 logits with minus infinity for what is never committed: the mask, and ids that no
            token has.
        Raises:
            UserError: by the next `fetch`, if the logits are not finite.
        """
        started = time.perf_counter()
        model = self.backbone if model is None else model
        device, vocabulary = model.device, model.vocabulary
        groups = list(request.groups(POSITIONS.get(device.type, POSITIONS["cuda"])))
        if len(groups) == 1:
            logits = self._run(request, model).double()
        else:
            logits = torch.empty(len(request.row), vocabulary, dtype=torch.float64, device=device)
            for wanted, group in groups:
                where = wanted if isinstance(wanted, slice) else upload(wanted, device)
                logits[where] = self._run(group, model).double()
        seconds = time.perf_counter() - started
        computed, lengths = tuple(request.computed.tolist()), tuple(request.lengths.tolist())
        no_op, lane = (False,) * len(questions), () if request.lane is None else tuple(request.lane.tolist())
        self._enter(LedgerRow(request.kind, questions, computed, lengths, no_op, seconds, lane=lane))
        # One NaN or infinity, and the sum is one.
        self._doubted.append((len(self.ledger), request.row, logits.sum(-1), model))
        return model.rule_out(logits)

    def fetch(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Tensors on the host, and with them, in the same copy, whether what forwards have said since the last time was
        finite.

        Raises:
            UserError: it was not. Nothing that follows from such a forward has been given out yet.
        """
        doubted, self._doubted = self._doubted, []
        values = download([*tensors, *(total for *_, total, _ in doubted)])
        for (length, row, _, model), total in zip(doubted, values[len(tensors) :], strict=True):
            if not total.isfinite().all():
                last = self.ledger[length - 1]
                question = last.questions[int(row[~total.isfinite().numpy()][0])]
                alike = [one for one in self.ledger[:length] if (one.kind == "guide") == (last.kind == "guide")]
                n = sum(question in one.questions for one in alike)
                whose = "guide" if last.kind == "guide" else "backbone"
                own = model.transformer is not self.backbone.transformer
                raise UserError(
                    _not_finite(question, n, model.dtype, whose, "guide.dtype" if own else "backbone.dtype")
                )
        return values[: len(tensors)]

    @torch.inference_mode()
    def read(self, request: Forward, questions: tuple[str, ...], asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run one forward and say, on the host, what it thinks of R tokens; for who needs no logits.

        Args:
            asked: [R] int64, tokens, or the mask where the most probable one (the first of equals) is meant.
        Returns:
            [R] int64 tokens, those asked about or the most probable ones, and [R] float64 softmax probabilities.
        """
        logits = self.forward(request, questions)
        started = time.perf_counter()
        asked_for = upload(asked, logits.device)
        token = torch.where(asked_for == self.backbone.mask_id, logits.argmax(-1), asked_for)
        said = TokenProbabilities.of(logits, token)
        chosen = time.perf_counter()
        read = self.fetch([said.token, said.probability])
        self._charge(time.perf_counter() - chosen, chosen - started)
        return read[0].numpy(), read[1].numpy()

    def clock(self) -> float:
        """Seconds on a clock that stands still in forwards and in choosing."""
        return time.perf_counter() - self.spent

    def _run(self, r: Forward, model: Backbone) -> Tensor:
        lengths, row, position = (torch.from_numpy(array) for array in (r.lengths, r.row, r.position))
        if r.hidden is not None and r.hidden.any():
            block = None if r.block is None else (torch.from_numpy(r.block[0]), r.block[1])
            hidden = torch.from_numpy(r.hidden)
            return leave_one_out(model, r.ids, lengths, row, position, hidden, r.embeddings, block)
        if r.attend is not None:
            return model(r.ids, lengths, row, position, r.embeddings, r.window, r.attend)
        return model(r.ids, lengths, row, position, r.embeddings, r.window)

    def _enter(self, row: LedgerRow) -> None:
        self.ledger.append(row)
        if not row.remembered:
            self.spent += row.seconds
        for i, question in enumerate(row.questions):
            self._sums.setdefault(question, QuestionSums()).add(row, i)

    def _charge(self, waited: float, chose: float) -> None:
        """Seconds that the last forward took more: until the device had finished it, and on what it said."""
        row = self.ledger[-1]
        self.ledger[-1] = replace(row, seconds=row.seconds + waited, choosing=row.choosing + chose)
        self.spent += waited + chose
        for question in row.questions:
            if row.kind != "aux":
                self._sums[question].forward_seconds += waited / len(row.questions)
                self._sums[question].choosing_seconds += chose / len(row.questions)

    def cost(self, question: str) -> QuestionSums:
        """The sums over the ledger that a record stores; they go on growing with it."""
        return self._sums.get(question, QuestionSums())


def _not_finite(question: str, n: int, dtype: torch.dtype, whose: str, key: str) -> str:
    if dtype == torch.float16:
        remedy = f"float16 ends at 65504 and larger numbers are infinite in it: choose {key}=bfloat16 or float32"
    else:
        remedy = (
            "the checkpoint's weights or the numbers in its config.json (such as rope_theta) are damaged: get it"
            " again, or another"
        )
    return (
        f"{question}: the {whose}'s logits at its forward {n} are not finite; {remedy}. What was decoded before is"
        " kept."
    )


@dataclass
class QuestionSums:
    """nfe: backbone forwards of the decode loop (every kind but aux and guide); commits: those among them that computed
    finished blocks for their keys and values; rows: as nfe, where a question has several candidates in a forward each
    of them; no_op: those forwards that could change nothing; full_forward_equivalents: Σ query tokens / full row
    length; token_forwards: Σ query tokens, both over all rows; aux_forwards: the rest, which also counts in those two
    sums; forward_seconds: the question's shares of the time inside the backbone, aux left out (its time is part of the
    seconds of whatever asked for it, such as a proposal's); choosing_seconds: of the time spent on logits by the meter;
    remembered: how many of all these forwards were answered from memory. guide_forwards, guide_token_forwards,
    guide_seconds: of a guide, its forwards, the positions it computed and its time; in none of the others."""

    nfe: int = 0
    rows: int = 0
    no_op: int = 0
    aux_forwards: int = 0
    token_forwards: int = 0
    full_forward_equivalents: float = 0.0
    forward_seconds: float = 0.0
    choosing_seconds: float = 0.0
    remembered: int = 0
    commits: int = 0
    guide_forwards: int = 0
    guide_token_forwards: int = 0
    guide_seconds: float = 0.0

    def add(self, row: LedgerRow, i: int) -> None:
        if row.kind == "guide":
            self.guide_forwards += 1
            self.guide_token_forwards += row.query_tokens[i]
            self.guide_seconds += row.seconds / len(row.questions)
            return
        first = not row.lane or row.lane[i] == 0
        if row.kind == "aux":
            self.aux_forwards += 1
        else:
            self.nfe += first
            self.rows += 1
            self.commits += int(row.kind == "commit")
            self.forward_seconds += row.seconds / len(row.questions)
            self.choosing_seconds += row.choosing / len(row.questions)
        self.remembered += int(row.remembered and first)
        self.no_op += int(row.no_op[i])
        self.token_forwards += row.query_tokens[i]
        self.full_forward_equivalents += row.query_tokens[i] / row.kv_tokens[i]
