"""How long a checkpoint takes to load and to run, and how near that is to what the device can do:

    python -m warmexp.measure --checkpoint FOLDER --device cuda --dtype bfloat16 --questions test.jsonl --limit 16 --batch 1,4,16

The questions are decoded by the decode loop itself, from an empty canvas, with a fixed number of forwards per block, so that random
weights (python -m warmexp.models.random_checkpoint) are measured exactly as trained ones would be. Forwards are timed between two
synchronisations; the rest of the loop's time is its own.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from warmexp.config.devices import available_device
from warmexp.console import complain, show
from warmexp.decode.loop import decode
from warmexp.decode.meter import Meter
from warmexp.decode.state import Question
from warmexp.decode.strategy import Strategies
from warmexp.errors import UserError, check_range, out_of_memory
from warmexp.io import write_json
from warmexp.measure.floors import Rates, forward_work, rates, wait
from warmexp.methods.anchor.none import NoAnchor
from warmexp.methods.cache.none import NoCache
from warmexp.methods.init.mask import MaskInit
from warmexp.methods.length.fixed import FixedLength
from warmexp.methods.remask.none import NoRemask
from warmexp.methods.unmask.topk import TopK
from warmexp.models.backbone import Backbone
from warmexp.models.checkpoint import Checkpoint
from warmexp.models.hub import model_folder, shards
from warmexp.models.weights import DTYPES, GIB
from warmexp.runs.batches import empty_cache
from warmexp.runs.environment import environment, keep_float32, no_cudnn_attention
from warmexp.tasks.data import read_file

PROMPT = "Question: {question}\nAnswer:"


@dataclass
class Timed(Backbone):
    """A backbone that keeps the seconds of every group of rows that the meter divides a forward into, and its rows, their tokens (padding
    too) and the rows for the head."""

    seconds: list[float] = field(default_factory=list)
    shapes: list[tuple[int, int, int]] = field(default_factory=list)

    def __call__(self, ids: Tensor, lengths: Tensor, row: Tensor, *more: Any) -> Tensor:
        wait(self.device)
        started = time.perf_counter()
        logits = super().__call__(ids, lengths, row, *more)
        wait(self.device)
        self.seconds.append(time.perf_counter() - started)
        self.shapes.append((*ids.shape, len(row)))
        return logits


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that is reported. Keys end in their units where those are not seconds."""
    device = torch.device(available_device(options.device))
    keep_float32()
    no_cudnn_attention()
    length = FixedLength(options.canvas_length, options.block_length)
    strategies = Strategies(MaskInit(), TopK(options.steps_per_block), NoRemask(), NoCache(), length, NoAnchor())
    checkpoint = Checkpoint(str(model_folder("--checkpoint", options.checkpoint)), dtype=options.dtype)
    questions = _questions(checkpoint, options)
    measured = rates(device, DTYPES[options.dtype])
    empty_cache()
    backbone, load = _load(checkpoint, device)
    longest = length.canvas_length + max(len(q.prompt) for q in questions)
    return {
        "environment": environment(str(device), {"backbone": checkpoint.identity(), "proposer": None}, backbone, longest),
        "weights_bytes": sum(p.numel() * p.element_size() for p in backbone.transformer.parameters()),
        "canvas_length": length.canvas_length,
        "block_length": length.block_length,
        "steps_per_block": options.steps_per_block,
        "questions": len(questions),
        "longest_row_tokens": longest,
        "load": load,
        "copy_bytes_per_second": measured.bandwidth,
        "matmul_flops_per_second": measured.flops,
        "batches": [_batch_size(backbone, questions, size, strategies, measured) for size in options.batch],
    }


def _questions(checkpoint: Checkpoint, options: argparse.Namespace) -> list[Question]:
    rows = read_file("--questions", options.questions, ("question",))[: options.limit]
    prompts = [checkpoint.tokenizer.encode_prompt(PROMPT.replace("{question}", row.text("question"))) for row in rows]
    if max(options.batch) > len(prompts):
        raise UserError(f"--batch {max(options.batch)} is more than the {len(prompts)} questions: raise --limit or give more questions.")
    limit, longest = checkpoint.config.max_sequence_length, max(map(len, prompts)) + options.canvas_length
    if longest > limit:
        raise UserError(
            f"--canvas_length {options.canvas_length} makes rows of {longest} tokens and the backbone takes {limit}: shorten it."
        )
    return [Question(str(i), tuple(prompt)) for i, prompt in enumerate(prompts)]


def _load(checkpoint: Checkpoint, device: torch.device) -> tuple[Timed, dict[str, float]]:
    """bytes: of the safetensors files. Files that the system has in its cache load faster than from the disk."""
    size = sum(file.stat().st_size for file in shards("--checkpoint", checkpoint.folder))
    _reset_peak(device)
    wait(device)
    started = time.perf_counter()
    backbone = checkpoint.load(device)
    wait(device)
    seconds = time.perf_counter() - started
    return Timed(**vars(backbone)), {"seconds": seconds, "bytes": size, "gib_per_second": size / GIB / seconds, "peak_bytes": _peak(device)}


def _batch_size(backbone: Timed, questions: Sequence[Question], size: int, strategies: Strategies, measured: Rates) -> dict[str, Any]:
    """The figures of one batch size, or that it does not fit."""
    try:
        return _decoded(backbone, questions, size, strategies, measured)
    except Exception as error:  # not handled in here: its traceback keeps the batch's tensors alive
        if not out_of_memory(error):
            raise
    empty_cache()
    return {"batch": size, "out_of_memory": True}


def _decoded(backbone: Timed, questions: Sequence[Question], size: int, strategies: Strategies, measured: Rates) -> dict[str, Any]:
    """Decode all questions in batches of `size`.

    Floors are those of the median forward. share_outside: of the decode's time, outside forwards; an upper bound, as the synchronisation
    keeps the loop's work on the host from overlapping a forward.
    """
    block = strategies.length.block_length
    warm_up = Strategies(MaskInit(), TopK(3), NoRemask(), NoCache(), FixedLength(block, block), NoAnchor())
    decode(backbone, questions[:size], warm_up)  # kernels are loaded and memory is reserved by the first forwards
    backbone.seconds.clear()
    backbone.shapes.clear()
    device = backbone.device
    _reset_peak(device)
    wait(device)
    meter = Meter(backbone)
    started = time.perf_counter()
    results = [r for i in range(0, len(questions), size) for r in decode(backbone, questions[i : i + size], strategies, 0, meter)]
    wait(device)
    total = time.perf_counter() - started
    groups = by_forward([len(row.questions) for row in meter.ledger], backbone.shapes)
    seconds = iter(backbone.seconds)
    forward = statistics.median(sum(islice(seconds, len(shapes))) for shapes in groups)
    work = [[forward_work(backbone.transformer, *shape) for shape in shapes] for shapes in groups]
    reading = work[0][0].bytes / measured.bandwidth  # weights are needed once per forward, however many groups read them
    arithmetic = statistics.median(sum(w.flops for w in parts) for parts in work) / measured.flops
    return {
        "batch": size,
        "forwards": len(groups),
        "groups": len(backbone.seconds),
        "nfe": [r.cost.nfe for r in results],
        "seconds": total,
        "seconds_per_forward": forward,
        "floor_weights": reading,
        "floor_flops": arithmetic,
        "times_the_floor": forward / max(reading, arithmetic),
        "share_outside": 1 - sum(backbone.seconds) / total,
        "questions_per_second": len(questions) / total,
        "peak_bytes": _peak(device),
    }


def by_forward(rows: Sequence[int], shapes: Sequence[tuple[int, int, int]]) -> list[list[tuple[int, int, int]]]:
    """The shapes of every forward's groups. rows: of each forward, all its groups together; shapes: of the groups, rows first, in order."""
    left, forwards = iter(shapes), []
    for count in rows:
        groups: list[tuple[int, int, int]] = []
        while sum(shape[0] for shape in groups) < count:
            groups.append(next(left))
        forwards.append(groups)
    return forwards


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device) -> int:
    """Bytes: the most torch had allocated on the GPU since the reset (the CUDA context, some hundred MB, is not in it); on the CPU the
    largest resident set of the process so far, which never falls."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def table(result: dict[str, Any]) -> str:
    load, where = result["load"], result["environment"]
    lines = [
        f"{where.get('gpu', where['device'])}, {where['dtype']}, attention {where['attention']['unpadded']} (unpadded),"
        f" {where['attention']['padded']} (padded)",
        f"load: {load['seconds']:.2f} s, {load['gib_per_second']:.2f} GiB/s, peak {load['peak_bytes'] / GIB:.2f} GiB",
        f"measured: copy {result['copy_bytes_per_second'] / 1e9:.1f} GB/s, matmul {result['matmul_flops_per_second'] / 1e12:.2f} TFLOP/s",
        "batch  forwards  ms/forward  weights floor  FLOPs floor  x floor  outside  peak GiB",
    ]
    for row in result["batches"]:
        if "out_of_memory" in row:
            lines.append(f"{row['batch']:5d}  out of memory")
            continue
        lines.append(
            f"{row['batch']:5d}  {row['forwards']:8d}  {1e3 * row['seconds_per_forward']:10.2f}  {1e3 * row['floor_weights']:10.2f} ms"
            f"  {1e3 * row['floor_flops']:8.2f} ms  {row['times_the_floor']:7.2f}  {100 * row['share_outside']:5.1f} %"
            f"  {row['peak_bytes'] / GIB:8.2f}"
        )
    return "\n".join(lines)


def _sizes(text: str) -> list[int]:
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text):
        raise argparse.ArgumentTypeError(f"{text} is not a list of whole numbers from 1, such as 1,4,16")
    return [int(word) for word in text.split(",")]


def _arguments(words: list[str] | None) -> argparse.Namespace:
    about, example = __doc__.split("\n\n")[:2]
    parser = argparse.ArgumentParser(prog="python -m warmexp.measure", description=about, epilog=f"example: {example.strip()}")
    parser.add_argument("--checkpoint", required=True, help="a folder in LLaDA's or Dream's layout, or a hub name")
    parser.add_argument("--questions", required=True, help='a JSONL file with lines {"question": …}, such as GSM8K\'s test.jsonl')
    parser.add_argument("--limit", type=int, default=16, help="the number of questions, from the first (default 16)")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bfloat16")
    parser.add_argument("--canvas_length", type=int, default=256, help="response positions (default 256)")
    parser.add_argument("--block_length", type=int, default=32, help="positions of a block (default 32)")
    parser.add_argument("--steps_per_block", type=int, default=8, help="forwards per block (default 8)")
    parser.add_argument("--batch", type=_sizes, default=[1], metavar="N,N,…", help="batch sizes (default 1)")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON, beside the table on standard output")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    options = _arguments(words)
    try:
        check_range("--limit", options.limit, 1, 10**9, "the number of questions")
        if options.out and not options.out.parent.is_dir():
            raise UserError(f"--out {options.out} cannot be written: there is no such folder, make it first.")
        result = measure(options)
        if options.out:
            write_json(options.out, result)
    except UserError as error:
        complain(f"warmexp: {error}")
        return 2
    show(table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
