"""What the memory of forwards (decode/memory.py) saves in a τ-sweep, and what it costs where nothing repeats.

Every row of an uncached forward is a function of its prompt and canvas. Two runs that differ in τ alone, say, read the
same rows until their first different commit, and then never again.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch

from warmexp.api import planned
from warmexp.bench.clock import Spread, interleaved, ratios
from warmexp.decode.batch import Decoded
from warmexp.decode.canvas import Question
from warmexp.decode.loop import stream
from warmexp.decode.memory import Memory, SharingMeter
from warmexp.decode.meter import Meter

TAUS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
BATCH = 64


def tau_sweep(questions: int, repeats: int = 1, taus: Sequence[float] = TAUS) -> dict[str, Any]:
    """Cold starts of the lab's backbone at several τ, without a cache.

    rows: forwards times questions, over all runs. distinct: different ones among them. pairs: the same for neighbouring
    τ alone.
    ratio: how many times as long the sweep takes when nothing is shared. cost: how many times as long one run takes
    with an empty memory as without any. charged: the seconds of all records of the shared sweep over those of the
    other. identical: answers whose tokens, commit iterations and confidences to four digits sharing left as they were.
    bytes: of the memory at the end.
    """
    plans = {tau: planned([f"task.limit={questions}", f"tau={tau}", "device=cpu"]) for tau in taus}
    plan = next(iter(plans.values()))
    backbone = plan.backbone.load(torch.device("cpu"))
    asked = sorted((Question(q.id, plan.prompts[q.id]) for q in plan.questions), key=lambda q: -len(q.prompt))

    def run(tau: float, meter: Meter) -> list[Decoded]:
        return sorted(stream(backbone, iter(asked), plans[tau].strategies, 0, meter, BATCH), key=lambda d: d.id)

    def sweep(some: Sequence[float], memory: Memory | None) -> list[Decoded]:
        done = [
            d
            for tau in some
            for d in run(tau, Meter(backbone) if memory is None else SharingMeter(backbone, memory=memory))
        ]
        charged[memory is not None].append(sum(d.seconds for d in done))
        return done

    def counted(some: Sequence[float]) -> dict[str, Any]:
        done = sweep(some, memory := Memory())
        rows, remembered = (sum(getattr(d.cost, name) for d in done) for name in ("nfe", "remembered"))
        return {"rows": rows, "distinct": rows - remembered, "saved": remembered / rows, "bytes": memory.size}

    charged: tuple[list[float], list[float]] = ([], [])
    contenders = {
        "apart": lambda: sweep(taus, None),
        "shared": lambda: sweep(taus, Memory()),
        "one": lambda: run(taus[-1], Meter(backbone)),
        "first": lambda: run(taus[-1], SharingMeter(backbone, memory=Memory())),
    }
    answers, seconds = interleaved(contenders, repeats, backbone.device, lambda _: None)
    apart, shared = answers["apart"], answers["shared"]
    times = {
        "seconds_apart": vars(Spread.of([s.wall for s in seconds["apart"]])),
        "ratio": vars(ratios(seconds["apart"], seconds["shared"])),
        "ratio_processor": vars(ratios(seconds["apart"], seconds["shared"], "processor")),
        "cost_processor": vars(ratios(seconds["first"], seconds["one"], "processor")),
        "charged": vars(Spread.of([b / a for a, b in zip(*charged, strict=True)])),
    }
    return {
        "taus": list(taus),
        "questions": questions,
        **counted(taus),
        "pairs": [{"taus": pair, **counted(pair)} for pair in pairwise(taus)],
        **times,
        "identical": sum(_told(a) == _told(b) for a, b in zip(apart, shared, strict=True)),
        "answers": len(shared),
    }


def _told(done: Decoded) -> tuple[Any, ...]:
    return done.ids, done.commit_iteration, done.cost.nfe, [None if c is None else round(c, 4) for c in done.confidence]
