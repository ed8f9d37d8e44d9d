"""Seconds per forward against what a forward cannot be faster than, and the time that is spent outside forwards."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from warmexp.bench.clock import Seconds, timed
from warmexp.bench.floors import Rates, Work, forward_work
from warmexp.bench.speed import ours, warm_up
from warmexp.bench.subject import Subject
from warmexp.decode.canvas import Question
from warmexp.decode.forward import Forward
from warmexp.decode.meter import Meter
from warmexp.models.backbone import Backbone


@dataclass(frozen=True)
class Watch:
    """A forward's kind, rows, arithmetic in all its groups, and the seconds between two moments at which the device had
    nothing left to do."""

    kind: str
    rows: int
    flops: int
    seconds: Seconds


@dataclass
class Watched(Meter):
    """A meter that also keeps what every forward was and took."""

    watched: list[Watch] = field(default_factory=list)
    groups: list[Work] = field(default_factory=list)  # of the present forward; padding is work, too

    def _run(self, r: Forward, model: Backbone) -> Tensor:
        width = r.window.width if r.window else None
        self.groups.append(forward_work(model.transformer, *r.ids.shape, len(r.row), width))
        return super()._run(r, model)

    def forward(self, request: Forward, questions: tuple[str, ...]) -> Tensor:
        self.groups.clear()
        logits, spent = timed(lambda: super(Watched, self).forward(request, questions), self.backbone.device)
        row = self.ledger[-1]
        # On the CPU the ledger's own seconds are exact.
        spent = replace(spent, wall=row.seconds) if self.backbone.device.type == "cpu" else spent
        self.watched.append(Watch(row.kind, len(questions), sum(work.flops for work in self.groups), spent))
        return logits


def forwards(
    subject: Subject, questions: Sequence[Question], cache: str, batch: int, measured: Rates
) -> dict[str, Any]:
    """share_outside: of the time, outside forwards; where the device is awaited, an upper bound.

    kinds: per kind of forward, the number, the median seconds of a full batch's, and the floors of the median one. On
    the CPU also the processor's seconds per thread, which other processes do not lengthen.
    """
    warm_up(lambda: ours(subject, questions[:batch], cache, batch), subject)
    meter = Watched(subject.backbone)
    _, spent = timed(lambda: ours(subject, questions, cache, batch, meter), subject.backbone.device)
    # Once per forward, however many read them.
    weights = forward_work(subject.backbone.transformer, 1, 1, 1).bytes / measured.bandwidth
    kinds = {}
    for kind in dict.fromkeys(one.kind for one in meter.watched):
        mine = [one for one in meter.watched if one.kind == kind]
        count, most = len(mine), max(one.rows for one in mine)
        mine = [one for one in mine if one.rows == most]
        arithmetic = statistics.median(one.flops for one in mine) / measured.flops
        seconds = statistics.median(one.seconds.wall for one in mine)
        busy = statistics.median(one.seconds.processor for one in mine) / torch.get_num_threads()
        floor = max(weights, arithmetic)
        kinds[kind] = {
            "forwards": count,
            "rows": most,
            "seconds": seconds,
            "floor_weights": weights,
            "floor_flops": arithmetic,
            "times_the_floor": seconds / floor,
        }
        if subject.backbone.device.type == "cpu":
            kinds[kind] |= {"seconds_processor": busy, "times_the_floor_processor": busy / floor}
    inside = sum(one.seconds.wall for one in meter.watched)
    return {"cache": cache, "batch": batch, "share_outside": 1 - inside / spent.wall, "kinds": kinds}
