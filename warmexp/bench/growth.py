"""How cost grows: seconds against batch size, response length, prompt length and runs in a study, each with a fitted
exponent."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from warmexp.bench.clock import Seconds, Spread, interleaved, timed
from warmexp.bench.plain import Rule
from warmexp.bench.subject import Subject
from warmexp.decode.canvas import Question
from warmexp.decode.loop import decode

RUNS, STEPS = 8, 4


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The slope of log seconds over log size by least squares: 0 is free, 1 is proportional."""
    x, y = [math.log(v) for v in sizes], [math.log(v) for v in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def doublings(low: int, high: int) -> list[int]:
    """low, 2·low, 4·low … and `high`."""
    sizes = [low]
    while sizes[-1] * 2 < high:
        sizes.append(sizes[-1] * 2)
    return sizes if sizes[-1] >= high else [*sizes, high]


def growth(
    subject: Subject, cache: str, batch: int, prompt: int, repeats: int, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """One batch of `batch` questions of one length; a batch of 1 with responses up to the canvas and prompts up to
    `prompt` tokens.

    Every block takes so many forwards, whatever the confidences: prompts of other lengths are other prompts, and would
    take others.
    """
    subject = subject if subject.rule.steps else replace(subject, rule=Rule(steps=STEPS))
    usual = min(prompt, 64)
    many = subject.questions(batch, usual)
    block, canvas = subject.length.block_length, subject.length.canvas_length
    series: dict[str, dict[int, tuple[list[Question], int]]] = {
        "batch": {n: (many[:n], canvas) for n in doublings(1, batch)},
        "response": {n: (many[:1], n) for n in doublings(block, canvas)},
        "prompt": {n: (subject.questions(1, n), block) for n in doublings(min(16, prompt), prompt)},
    }
    rows = []
    for what, sizes in series.items():
        if len(sizes) < 2:
            continue

        def work(questions: list[Question], length: int) -> Callable[[], Any]:
            return lambda: decode(subject.backbone, questions, subject.strategies(cache, length))

        contenders = {n: work(*given) for n, given in sizes.items()}
        for run in contenders.values():
            run()
        _, seconds = interleaved(contenders, repeats, subject.backbone.device, lambda _: None)
        say(f"growth with {what}, cache={cache}")
        rows.append(_row(what, cache, list(sizes), [seconds[n] for n in sizes]))
    return rows


def _row(what: str, cache: str, sizes: list[int], spent: list[list[Seconds]]) -> dict[str, Any]:
    """exponent_last: from the last size but one to the last. exponent_processor: of processor time, not lengthened by
    other processes."""
    seconds = [Spread.of([s.wall for s in each]) for each in spent]
    median = [s.median for s in seconds]
    busy = [Spread.of([s.processor for s in each]).median for each in spent]
    steps = list(zip(sizes, median, strict=True))
    last = exponent(*zip(*steps[-2:], strict=True))
    return {
        "what": what,
        "cache": cache,
        "sizes": sizes,
        "seconds": median,
        "low": [s.low for s in seconds],
        "high": [s.high for s in seconds],
        "exponent": exponent(sizes, median),
        "exponent_last": last,
        "seconds_processor": busy,
        "exponent_processor": exponent(sizes, busy),
    }


def study(questions: int) -> dict[str, Any]:
    """Seconds until the first 1, 2, 4 … runs of a study are done: warm starts on the lab that differ in their seed, in
    this process, from nothing (no proposals stored, no model loaded)."""
    from warmexp.api import run_overrides
    from warmexp.runs.run import _free_backbone

    _free_backbone()
    each: list[Seconds] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(RUNS):
            words = [
                "init=token_inject",
                "proposer=lab_weak",
                f"task.limit={questions}",
                f"seed={seed}",
                f"outputs={folder}",
            ]
            each.append(timed(lambda words=words: run_overrides([*words, "device=cpu"]), torch.device("cpu"))[1])
    _free_backbone()
    sizes = doublings(1, RUNS)
    until = [Seconds(sum(s.wall for s in each[:n]), sum(s.processor for s in each[:n])) for n in sizes]
    return _row("runs", "none", sizes, [[s] for s in until]) | {"each": [s.wall for s in each]}
