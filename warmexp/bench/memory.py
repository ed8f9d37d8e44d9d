"""Peak memory of a decode against what it cannot do without: the weights, the caches, and one batch of eligible
logits."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from warmexp.bench.load import peak, reset_peak
from warmexp.bench.speed import ours
from warmexp.bench.subject import Subject
from warmexp.decode.canvas import Question
from warmexp.models.keys_values import position_bytes

# Which caches keep keys and values of a whole row.
KEEPS_NOTHING = ("none",)


def memory(subject: Subject, questions: Sequence[Question], cache: str, batch: int) -> dict[str, Any]:
    """Bytes of tensors at the highest moment of one batch's decode, weights included; the interpreter and the CUDA
    context are not.

    needed: weights + keys and values of the longest rows of the batch, where a cache keeps them + float64 logits of a
    block's positions.
    """
    chosen = sorted(questions, key=lambda q: (-len(q.prompt), q.id))[:batch]
    c, canvas = subject.backbone.transformer.config, subject.length.canvas_length
    longest = max(len(q.prompt) for q in chosen) + canvas
    caches = 0 if cache in KEEPS_NOTHING else position_bytes(c, subject.backbone.dtype) * longest * len(chosen)
    logits = len(chosen) * subject.length.block_length * c.embedding_size * 8
    needed = {"weights": subject.weights_bytes, "caches": caches, "logits": logits}
    most = _most(lambda: ours(subject, chosen, cache, batch), subject)
    total = sum(needed.values())
    return {
        "cache": cache,
        "batch": len(chosen),
        "peak_bytes": most,
        "needed_bytes": needed,
        "times_needed": most / total,
    }


def _most(work: Callable[[], Any], subject: Subject) -> int:
    device = subject.backbone.device
    if device.type == "cuda":
        reset_peak(device)
        work()
        return peak(device)
    return subject.weights_bytes + allocated(work)


def allocated(work: Callable[[], Any]) -> int:
    """Most bytes of CPU tensors that were alive at once, of those that `work` made, as torch's profiler tells it."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler writes to standard error
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(file))
        events = [e for e in json.loads(file.read_text())["traceEvents"] if e.get("name") == "[memory]"]
    if not events:
        return 0
    first = min(events, key=lambda e: e["ts"])["args"]
    before = (
        first["Total Allocated"] - first["Bytes"]
    )  # what an earlier profile has seen made and no profile has seen freed
    return max(e["args"]["Total Allocated"] for e in events) - before
