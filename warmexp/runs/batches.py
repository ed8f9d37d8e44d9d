"""Batches that are halved where a device runs out of memory: nothing is lost, and what ran out is done again in smaller
pieces."""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch

from warmexp.errors import UserError, out_of_memory

T = TypeVar("T")
R = TypeVar("R")


def halving(
    batches: Iterable[Sequence[T]], work: Callable[[Sequence[T]], R], say: Callable[[str], None], remedy: str
) -> Iterator[tuple[Sequence[T], R]]:
    """Yield (batch, work(batch)) for all items, in order, in batches no larger than what has run out of memory so far.

    A batch of n that runs out is done again in two of ⌈n/2⌉ and ⌊n/2⌋, and no later batch is larger than ⌈n/2⌉. `work`
    must leave nothing behind when it fails. Only errors that say so (`out_of_memory`) are treated like this.

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
        except Exception as error:  # not handled in here: its traceback keeps the tensors of the batch alive
            if not out_of_memory(error):
                raise
        else:
            yield batch, done
            continue
        empty_cache()
        if len(batch) == 1:
            raise UserError(f"out of memory at batch size 1: {remedy}")
        limit = (len(batch) + 1) // 2
        waiting.appendleft(batch)
        say(f"out of memory at batch size {len(batch)}: going on with {limit}")


def shrinking(
    items: Iterable[T],
    size: int,
    work: Callable[[Iterable[T], int], Iterator[tuple[T, R]]],
    say: Callable[[str], None],
    remedy: str,
) -> Iterator[tuple[T, R]]:
    """Yield what `work(items, size)` yields, and where that runs out of memory, go on with the items it has not yielded
    at half the size.

    `work` takes up to `size` items at a time, as it needs them, and yields each with its result, in any order.
    Otherwise as `halving`.
    """
    waiting = iter(items)
    taken: list[T] = []  # and not yielded
    while True:
        again, most = tuple(taken), len(taken)

        def supply(again: tuple[T, ...] = again) -> Iterator[T]:
            nonlocal most
            yield from again
            for item in waiting:
                taken.append(item)
                most = max(most, len(taken))
                yield item

        try:
            for item, result in work(supply(), size):
                taken.remove(item)
                yield item, result
        except Exception as error:  # not handled in here, as above
            if not out_of_memory(error):
                raise
        else:
            return
        empty_cache()
        tried = min(size, most or size)
        if tried == 1:
            raise UserError(f"out of memory at batch size 1: {remedy}")
        size = (tried + 1) // 2
        say(f"out of memory at batch size {tried}: going on with {size}")


def gathered(items: Iterable[T], seconds: float) -> Iterator[list[T]]:
    """Items in lists, each of what came within `seconds`; also what came before an error, which is raised after it."""
    found: list[T] = []
    since = time.monotonic()
    try:
        for item in items:
            found.append(item)
            if time.monotonic() - since >= seconds:
                yield found
                found, since = [], time.monotonic()
    except (Exception, KeyboardInterrupt):
        if found:
            yield found
        raise
    if found:
        yield found


def empty_cache() -> None:
    """Give memory that nothing refers to any more back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
