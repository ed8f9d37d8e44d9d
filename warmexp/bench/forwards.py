"""Seconds per forward against what a forward cannot be faster than, and the time that is spent outside forwards."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from warmexp.bench.clock import timed
from warmexp.bench.speed import ours
from warmexp.bench.subject import Subject
from warmexp.decode.meter import Forward, Meter
from warmexp.decode.state import Question
from warmexp.measure.floors import Rates, forward_work, wait


@dataclass
class Watched(Meter):
    """A meter that also keeps every forward's shape (kind, rows, computed tokens of a row, tokens attended to, rows of the head) and the
    seconds between two moments at which the device had nothing left to do."""

    shapes: list[tuple[str, int, int, int, int]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def forward(self, request: Forward, questions: tuple[str, ...], no_op: tuple[bool, ...] | None = None) -> Tensor:
        wait(self.backbone.device)
        started = time.perf_counter()
        logits = super().forward(request, questions, no_op)
        wait(self.backbone.device)
        outside = time.perf_counter() - started
        row = self.ledger[-1]
        # On the CPU the ledger's own seconds are exact and leave the conversion of the logits out.
        self.seconds.append(row.seconds if self.backbone.device.type == "cpu" else outside)
        self.shapes.append((row.kind, len(questions), request.ids.shape[1], max(row.kv_tokens), len(request.row)))
        return logits


def forwards(subject: Subject, questions: Sequence[Question], cache: str, batch: int, measured: Rates) -> dict[str, Any]:
    """share_outside: of the time, outside forwards; where the device is awaited, an upper bound.

    kinds: per kind of forward, the number, the median and the least seconds of a full batch's, and the floors of the median one. The
    arithmetic is that of all positions through all layers; a forward that leaves out what nobody reads can go below.
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
        seconds = statistics.median(s for s, _ in mine)
        kinds[kind] = {
            "forwards": sum(shape[0] == kind for shape in meter.shapes),
            "rows": most,
            "seconds": seconds,
            "seconds_fastest": min(s for s, _ in mine),
            "floor_weights": weights,
            "floor_flops": arithmetic,
            "times_the_floor": seconds / max(weights, arithmetic),
        }
    return {"cache": cache, "batch": batch, "share_outside": 1 - sum(meter.seconds) / spent.wall, "kinds": kinds}
