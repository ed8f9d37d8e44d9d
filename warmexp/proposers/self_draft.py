"""The backbone's own draft as the proposal: one forward from the empty canvas, and no second model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from warmexp.decode.canvas import Question
from warmexp.decode.forward import whole_forward
from warmexp.decode.meter import Meter
from warmexp.errors import check_choice
from warmexp.models.tokenizer import BackboneTokenizer
from warmexp.proposers.proposal import TAILS, Encoded, Proposal, Proposer, lay_out

# float64 logits of every canvas position are wanted at once: questions are drafted in groups whose logits take at most
# this much (LLaDA-8B: 256 positions x 126,464 tokens are 0.26 GB per question).
_LOGIT_BYTES = 1 << 30


@dataclass
class SelfProposer(Proposer):
    """x̂_i = argmax_v p_θ(v | prompt, M…M) at every position i at once, cut before the first end token.

    The forward costs as much as any other and is metered as `aux` in the question's ledger: it is in aux_forwards and
    in full_forward_equivalents, not in NFE. The ids are used as they are, slot for slot, without a way through text.
    Trust is p_θ(x̂_i), which is exact for a single position and says nothing about how well neighbours go together.
    tail: see proposal.py.
    """

    tail: str = "mask"
    from_backbone = True

    def __post_init__(self) -> None:
        check_choice("proposer.tail", self.tail, TAILS)
        self._source: dict[str, Any] = {}
        self._length = 0

    def bind(self, backbone, canvas_length: int, task) -> None:
        self._source, self._length = backbone.identity(), canvas_length

    def identity(self) -> dict[str, Any]:
        return {"kind": "self", "backbone": self._source, "canvas_length": self._length}

    def draft(
        self, meter: Meter, questions: Sequence[Question], tokenizer: BackboneTokenizer
    ) -> dict[str, tuple[Proposal, Encoded]]:
        """Draft a batch; one `aux` forward per question goes into the meter's ledger."""
        row_bytes = 8 * self._length * meter.backbone.vocabulary
        group = max(1, _LOGIT_BYTES // row_bytes)
        drafts: dict[str, tuple[Proposal, Encoded]] = {}
        for first in range(0, len(questions), group):
            drafts |= self._draft(meter, questions[first : first + group], tokenizer)
        return drafts

    @torch.inference_mode()
    def _draft(
        self, meter: Meter, questions: Sequence[Question], tokenizer: BackboneTokenizer
    ) -> dict[str, tuple[Proposal, Encoded]]:
        started = time.perf_counter()
        backbone, length = meter.backbone, self._length
        cold = np.full((len(questions), length), backbone.mask_id)
        request = whole_forward([q.prompt for q in questions], cold, np.ones(cold.shape, dtype=bool), backbone.device)
        request.kind = "aux"
        logits = meter.forward(request, tuple(q.id for q in questions))
        top = logits.max(-1)  # the first of equal maxima
        read = meter.fetch([top.indices, top.values - logits.logsumexp(-1)])
        ids, logp = (t.view(len(questions), length).tolist() for t in read)
        seconds = (time.perf_counter() - started) / len(questions)
        return {
            q.id: self._proposal(i, p, seconds, backbone, tokenizer)
            for q, i, p in zip(questions, ids, logp, strict=True)
        }

    def _proposal(
        self, ids: list[int], logp: list[float], seconds: float, backbone, tokenizer
    ) -> tuple[Proposal, Encoded]:
        n = next((i for i, token in enumerate(ids) if token in backbone.end_ids), len(ids))
        logp = [min(p, 0.0) for p in logp]
        end = logp[n] if n < len(ids) else None
        trust = torch.tensor(logp[:n], dtype=torch.float64).exp().tolist()
        encoded = lay_out(ids[:n], logp[:n], trust, [False] * n, end, self._length, self.tail, backbone.eos_id)
        return Proposal(tokenizer.decode(ids[:n]), seconds=seconds, end=end), encoded
