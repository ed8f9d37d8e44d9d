"""How long a checkpoint takes to load, and the memory that this and other work needs."""

from __future__ import annotations

import sys
import time

import torch

from warmexp.bench.floors import wait
from warmexp.models.backbone import Backbone
from warmexp.models.checkpoint import Checkpoint
from warmexp.models.files import shards
from warmexp.models.weights import GIB


def load(checkpoint: Checkpoint, device: torch.device) -> tuple[Backbone, dict[str, float]]:
    """The backbone on the device, and the seconds that took. bytes: of the safetensors files. Files that the system has
    in its cache load faster than from the disk."""
    size = sum(file.stat().st_size for file in shards("--model", checkpoint.folder))
    reset_peak(device)
    wait(device)
    started = time.perf_counter()
    backbone = checkpoint.load(device)
    wait(device)
    seconds = time.perf_counter() - started
    return backbone, {
        "seconds": seconds,
        "bytes": size,
        "gib_per_second": size / GIB / seconds,
        "peak_bytes": peak(device),
    }


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> int:
    """Bytes: the most torch had allocated on the GPU since the reset (the CUDA context, some hundred MB, is not in it);
    on the CPU the largest resident set of the process so far, which never falls."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
