"""Would it pay to share forwards between the runs of a study? The share of them that read what another run's forward has read.

Every row of every forward is a function of its prompt and canvas. Two runs that differ in τ alone, say, compute the same rows until their
first different commit. What is counted is therefore the most that any way of sharing can save; nothing is shared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from warmexp.api import planned
from warmexp.backbone.backbone import Backbone
from warmexp.decode.loop import decode
from warmexp.decode.state import Question

TAUS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass
class Recording(Backbone):
    """A backbone that keeps a digest of every row it reads."""

    rows: list[bytes] = field(default_factory=list)

    def __call__(self, ids: Tensor, lengths: Tensor, row: Tensor, position: Tensor, embeddings: Tensor | None = None) -> Tensor:
        for tokens, length in zip(ids.cpu(), lengths.tolist(), strict=True):
            self.rows.append(hashlib.blake2b(tokens[:length].numpy().tobytes(), digest_size=16).digest())
        return super().__call__(ids, lengths, row, position, embeddings)


def tau_sweep(questions: int, taus: Sequence[float] = TAUS) -> dict[str, Any]:
    """Cold starts of the lab's backbone at several τ.

    rows: forwards times questions, over all runs. distinct: different ones among them. pairs: the same for neighbouring τ alone.
    """
    read: dict[float, list[bytes]] = {}
    backbone: Recording | None = None
    for tau in taus:
        plan = planned([f"task.limit={questions}", f"tau={tau}", "device=cpu"])
        backbone = backbone or Recording(**vars(plan.backbone.load(torch.device("cpu"))))
        backbone.rows = []
        asked = [Question(q.id, plan.prompts[q.id]) for q in plan.questions]
        for i in range(0, len(asked), 64):
            decode(backbone, asked[i : i + 64], plan.strategies)
        read[tau] = backbone.rows
    return {
        "taus": list(taus),
        "questions": questions,
        **_counted([read[t] for t in taus]),
        "pairs": [{"taus": pair, **_counted([read[t] for t in pair])} for pair in pairwise(taus)],
    }


def _counted(runs: Sequence[Sequence[bytes]]) -> dict[str, Any]:
    rows = [row for run in runs for row in run]
    return {"rows": len(rows), "distinct": len(set(rows)), "saved": 1 - len(set(rows)) / len(rows)}
