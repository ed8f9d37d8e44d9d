"""The meter: the only way to run a backbone forward, so NFE cannot be miscounted.

One ledger row per forward says what was computed for which question. Everything that is reported (NFE, full-forward equivalents,
token-forwards, auxiliary forwards, seconds) is a sum over the ledger; nothing counts anything anywhere else.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from warmexp.backbone.backbone import Backbone

KINDS = ("full", "window", "block", "aux")


@dataclass
class Forward:
    """One forward, asked for: which positions are queries and which hidden states go through the head.

    ids: [B, T] long, right-padded rows (prompt, then canvas). embeddings: [B, T, d_model] or None; replaces ids when given.
    lengths: [B] long, true row lengths. row, position: [R] long, the logits that are wanted.
    """

    ids: Tensor
    lengths: Tensor
    row: Tensor
    position: Tensor
    embeddings: Tensor | None = None
    kind: str = "full"


@dataclass(frozen=True)
class LedgerRow:
    """What one forward did. Tuples run over its questions.

    query_tokens: positions computed (padding is the batch's affair and not counted); kv_tokens: positions attended to;
    no_op: the forward could change nothing for that question.
    """

    kind: str
    questions: tuple[str, ...]
    query_tokens: tuple[int, ...]
    kv_tokens: tuple[int, ...]
    no_op: tuple[bool, ...]
    seconds: float


@dataclass
class Meter:
    """Runs forwards and keeps the ledger. `seconds` of a row run from the call to the return (CUDA work is awaited only at reads)."""

    backbone: Backbone
    ledger: list[LedgerRow] = field(default_factory=list)

    @torch.inference_mode()
    def forward(self, request: Forward, questions: tuple[str, ...], no_op: tuple[bool, ...] | None = None) -> Tensor:
        """Run one forward for `questions` (one per row of the request) and enter it in the ledger.

        Returns:
            [R, vocabulary] float64 logits with the mask token ruled out (minus infinity): a backbone may never commit its own mask.
        """
        started = time.perf_counter()
        logits = self.backbone(request.ids, request.lengths, request.row, request.position, request.embeddings)
        seconds = time.perf_counter() - started
        lengths = tuple(request.lengths.tolist())
        self.ledger.append(LedgerRow(request.kind, questions, lengths, lengths, no_op or (False,) * len(questions), seconds))
        logits = logits.double()
        logits[:, self.backbone.mask_id] = -torch.inf
        return logits

    def sums(self) -> dict[str, QuestionSums]:
        """Per question, the sums that records store."""
        totals: dict[str, QuestionSums] = {}
        for row in self.ledger:
            for i, question in enumerate(row.questions):
                total = totals.setdefault(question, QuestionSums())
                total.add(row, i)
        return totals


@dataclass
class QuestionSums:
    """nfe: backbone forwards of the decode loop (every kind but aux); no_op: those among them that could change nothing;
    full_forward_equivalents: Σ query tokens / full row length; token_forwards: Σ query tokens; aux_forwards: the rest, which also counts
    in those two sums; forward_seconds: the question's shares of the time inside the backbone, aux left out (its time is part of the
    seconds of whatever asked for it, such as a proposal's)."""

    nfe: int = 0
    no_op: int = 0
    aux_forwards: int = 0
    token_forwards: int = 0
    full_forward_equivalents: float = 0.0
    forward_seconds: float = 0.0

    def add(self, row: LedgerRow, i: int) -> None:
        if row.kind == "aux":
            self.aux_forwards += 1
        else:
            self.nfe += 1
            self.forward_seconds += row.seconds / len(row.questions)
        self.no_op += int(row.no_op[i])
        self.token_forwards += row.query_tokens[i]
        self.full_forward_equivalents += row.query_tokens[i] / row.kv_tokens[i]
