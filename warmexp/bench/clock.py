"""Seconds, taken so that a disturbance of the machine shows as spread and not as a result."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from warmexp.bench.floors import wait

T = TypeVar("T")


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some repetitions."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def __format__(self, spec: str) -> str:
        return f"{self.median:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


@dataclass(frozen=True)
class Seconds:
    """wall: elapsed. processor: spent by all threads of this process, which other processes do not lengthen."""

    wall: float
    processor: float


def timed(work: Callable[[], T], device: torch.device) -> tuple[T, Seconds]:
    wait(device)
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    wait(device)
    return result, Seconds(time.perf_counter() - wall, time.process_time() - processor)


def interleaved(
    contenders: Mapping[str, Callable[[], Any]], repeats: int, device: torch.device, say: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, list[Seconds]]]:
    """Run all contenders `repeats` times, one after the other and never in the same order: their first results, and all
    their seconds.

    Entry r of every list belongs to the same round, so that ratios are taken between neighbours in time.
    """
    names = list(contenders)
    results: dict[str, Any] = {}
    seconds: dict[str, list[Seconds]] = {name: [] for name in names}
    for round_ in range(repeats):
        turn = round_ % len(names)
        for name in names[turn:] + names[:turn]:
            result, spent = timed(contenders[name], device)
            results.setdefault(name, result)
            seconds[name].append(spent)
        say(f"round {round_ + 1} of {repeats}")
    return results, seconds


def ratios(slow: list[Seconds], fast: list[Seconds], clock: str = "wall") -> Spread:
    """How many times as long as `fast` `slow` took, round by round."""
    return Spread.of([getattr(a, clock) / getattr(b, clock) for a, b in zip(slow, fast, strict=True)])
