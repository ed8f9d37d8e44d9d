"""Seconds per forward against what a forward cannot be faster than, and the time that is spent outside forwards."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from warmexp.bench.clock import Seconds, timed
from warmexp.bench.speed import ours
from warmexp.bench.subject import Subject
from warmexp.decode.meter import Forward, Meter
from warmexp.decode.state import Question
from warmexp.measure.floors import Rates, forward_work


@dataclass
class Watched(Meter):
    """A meter that also keeps every forward's shape (kind, rows, computed tokens of a row, tokens attended to, rows of the head) and the
    seconds between two moments at which the device had nothing left to do."""

    shapes: list[tuple[str, int, int, int, int]] = field(default_factory=list)
    seconds: list[Seconds] = field(default_factory=list)

    def forward(self, request: Forward, questions: tuple[str, ...], no_op: tuple[bool, ...] | None = None) -> Tensor:
        logits, spent = timed(lambda: super(Watched, self).forward(request, questions, no_op), self.backbone.device)
        row = self.ledger[-1]
        # On the CPU the ledger's own seconds are exact.
        self.seconds.append(replace(spent, wall=row.seconds) if self.backbone.device.type == "cpu" else spent)
        self.shapes.append((row.kind, len(questions), request.ids.shape[1], max(row.kv_tokens), len(request.row)))
        return logits


def forwards(subject: Subject, questions: Sequence[Question], cache: str, batch: int, measured: Rates) -> dict[str, Any]:
    """share_outside: of the time, outside forwards; where the device is awaited, an upper bound.

    kinds: per kind of forward, the number, the median seconds of a full batch's, and the floors of the median one. On the CPU also the
    processor's seconds per thread, which other processes do not lengthen.
    """
    meter = Watched(subject.backbone)
    _, spent = timed(lambda: ours(subject, questions, cache, batch, meter), subject.backbone.device)
    kinds = {}
    for kind in dict.fromkeys(shape[0] for shape in meter.shapes):
        mine = [(s, shape) for s, shape in zip(meter.seconds, meter.shapes, strict=True) if shape[0] == kind]
        most = max(shape[1] for _, shape in mine)
        mine = [(s, shape) for s, shape in mine if shape[1] == most]
        work = [forward_work(subject.backbone.transformer, *shape[1:3], shape[4], shape[3]) for _, shape in mine]
        weights = work[0].bytes / measured.bandwidth
        arithmetic = statistics.median(w.flops for w in work) / measured.flops
        seconds = statistics.median(s.wall for s, _ in mine)
        busy = statistics.median(s.processor for s, _ in mine) / torch.get_num_threads()
        floor = max(weights, arithmetic)
        kinds[kind] = {
            "forwards": sum(shape[0] == kind for shape in meter.shapes),
            "rows": most,
            "seconds": seconds,
            "floor_weights": weights,
            "floor_flops": arithmetic,
            "times_the_floor": seconds / floor,
        }
        if subject.backbone.device.type == "cpu":
            kinds[kind] |= {"seconds_processor": busy, "times_the_floor_processor": busy / floor}
    return {"cache": cache, "batch": batch, "share_outside": 1 - sum(s.wall for s in meter.seconds) / spent.wall, "kinds": kinds}
