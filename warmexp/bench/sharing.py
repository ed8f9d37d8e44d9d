"""Would it pay to share forwards between the runs of a study? How many of them read what another run's forward has read, and the seconds
that answering these from memory saves.

Every row of an uncached forward is a function of its prompt and canvas. Two runs that differ in τ alone, say, read the same rows until
their first different commit, and then never again.
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
from warmexp.bench.clock import Spread, interleaved, ratios
from warmexp.decode.batch import Decoded
from warmexp.decode.loop import decode
from warmexp.decode.state import Question

TAUS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
BATCH = 64


@dataclass
class Recording(Backbone):
    """A backbone that keeps a digest of every row it reads."""

    rows: list[bytes] = field(default_factory=list)

    def __call__(self, ids: Tensor, lengths: Tensor, row: Tensor, position: Tensor, *more: Any, **named: Any) -> Tensor:
        self.rows += digests(ids, lengths)
        return super().__call__(ids, lengths, row, position, *more, **named)


@dataclass
class Remembering(Recording):
    """A backbone that computes a row once and answers from memory afterwards; the rest of the batch is computed as a smaller one."""

    known: dict[bytes, Tensor] = field(default_factory=dict)

    def __call__(self, ids: Tensor, lengths: Tensor, row: Tensor, position: Tensor, *more: Any, **named: Any) -> Tensor:
        keys = digests(ids, lengths)
        fresh = [i for i, key in enumerate(keys) if key not in self.known]
        if fresh:
            place = torch.full((len(keys),), -1).scatter_(0, torch.tensor(fresh), torch.arange(len(fresh)))
            mine = place[row] >= 0
            logits = super().__call__(ids[fresh], lengths[fresh], place[row[mine]], position[mine], *more, **named)
            for n, i in enumerate(fresh):
                self.known[keys[i]] = logits[place[row[mine]] == n]
        return torch.cat([self.known[key] for key in keys])


def digests(ids: Tensor, lengths: Tensor) -> list[bytes]:
    rows = zip(ids.cpu(), lengths.tolist(), strict=True)
    return [hashlib.blake2b(tokens[:length].numpy().tobytes(), digest_size=16).digest() for tokens, length in rows]


def tau_sweep(questions: int, repeats: int = 1, taus: Sequence[float] = TAUS) -> dict[str, Any]:
    """Cold starts of the lab's backbone at several τ, without a cache.

    rows: forwards times questions, over all runs. distinct: different ones among them. pairs: the same for neighbouring τ alone.
    ratio: how many times as long the sweep takes when nothing is shared. identical: answers that sharing left as they were.
    """
    plans = {tau: planned([f"task.limit={questions}", f"tau={tau}", "device=cpu"]) for tau in taus}
    plan = next(iter(plans.values()))
    backbone = plan.backbone.load(torch.device("cpu"))
    asked = [Question(q.id, plan.prompts[q.id]) for q in plan.questions]

    def run(chosen: Backbone, tau: float) -> list[Decoded]:
        return [d for i in range(0, len(asked), BATCH) for d in decode(chosen, asked[i : i + BATCH], plans[tau].strategies)]

    def sweep(chosen: Backbone) -> list[Decoded]:
        return [d for tau in taus for d in run(chosen, tau)]

    read: dict[float, list[bytes]] = {}
    for tau in taus:
        recording = Recording(**vars(backbone))
        run(recording, tau)
        read[tau] = recording.rows
    contenders = {"apart": lambda: sweep(backbone), "shared": lambda: sweep(Remembering(**vars(backbone)))}
    answers, seconds = interleaved(contenders, repeats, backbone.device, lambda _: None)
    same = [(a.ids, a.commit_iteration) == (b.ids, b.commit_iteration) for a, b in zip(*answers.values(), strict=True)]
    return {
        "taus": list(taus),
        "questions": questions,
        **_counted([read[t] for t in taus]),
        "pairs": [{"taus": pair, **_counted([read[t] for t in pair])} for pair in pairwise(taus)],
        "seconds_apart": vars(Spread.of([s.wall for s in seconds["apart"]])),
        "ratio": vars(ratios(seconds["apart"], seconds["shared"])),
        "ratio_processor": vars(ratios(seconds["apart"], seconds["shared"], "processor")),
        "identical": sum(same),
        "answers": len(same),
    }


def _counted(runs: Sequence[Sequence[bytes]]) -> dict[str, Any]:
    rows = [row for run in runs for row in run]
    return {"rows": len(rows), "distinct": len(set(rows)), "saved": 1 - len(set(rows)) / len(rows)}
