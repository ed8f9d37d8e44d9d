"""Batches that are halved where a device runs out of memory: nothing is lost, and what ran out is done again in smaller pieces."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch

from warmexp.errors import UserError

T = TypeVar("T")
R = TypeVar("R")


def halving(
    batches: Iterable[Sequence[T]], work: Callable[[Sequence[T]], R], say: Callable[[str], None], remedy: str
) -> Iterator[tuple[Sequence[T], R]]:
    """Yield (batch, work(batch)) for all items, in order, in batches no larger than what has run out of memory so far.

    A batch of n that runs out is done again in two of ⌈n/2⌉ and ⌊n/2⌋, and no later batch is larger than ⌈n/2⌉. `work` must leave nothing
    behind when it fails. Only `torch.OutOfMemoryError`, which accelerators raise, is treated like this.

    Args:
        say: told of every halving, once.
        remedy: ends the sentence for one item that does not fit alone, after "out of memory at batch size 1: ".
    Raises:
        UserError: one item alone does not fit.
    """
    waiting = deque(batches)
    limit: int | None = None
    while waiting:
        batch = waiting.popleft()
        if limit is not None and len(batch) > limit:
            waiting.extendleft((batch[limit:], batch[:limit]))  # extendleft reverses
            continue
        try:
            done = work(batch)
        except torch.OutOfMemoryError:
            pass  # not handled in here: the error's traceback keeps the tensors of the batch alive
        else:
            yield batch, done
            continue
        empty_cache()
        if len(batch) == 1:
            raise UserError(f"out of memory at batch size 1: {remedy}")
        limit = (len(batch) + 1) // 2
        waiting.appendleft(batch)
        say(f"out of memory at batch size {len(batch)}: going on with {limit}")


def empty_cache() -> None:
    """Give memory that nothing refers to any more back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
