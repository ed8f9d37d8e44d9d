"""The one exception whose message is meant for the user: one sentence naming the key, the value and the remedy; and
which errors of others mean that memory has run out."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable

# How libraries say that memory has run out where they have no error of its own for it: the CUDA runtime, driver and
# libraries, torch's CUDA allocator where it cannot ask the driver what is left, its CPU allocator (Linux, Windows), the
# C++ library, oneDNN. CUBLAS_STATUS_NOT_INITIALIZED is not among them: it also follows errors that no smaller batch
# avoids.
_NO_MEMORY = re.compile(
    r"CUDA (driver )?error: out of memory|CUDA out of memory|cudaErrorMemoryAllocation|CU[A-Z]+_STATUS_ALLOC_FAILED|NVML_SUCCESS == "
    r"|can't allocate memory|not enough memory: you tried|Cannot allocate memory|bad_alloc|could not create a memory"
)


class UserError(Exception):
    """A mistake the user can repair. Shown as its message alone, never as a traceback."""


def closest(name: object, known: Iterable[str]) -> str:
    """', did you mean X?' for a near miss, otherwise ''."""
    match = difflib.get_close_matches(str(name), list(known), n=1)
    return f", did you mean '{match[0]}'?" if match else ""


def check_range(key: str, value: float, low: float, high: float, meaning: str, open_low: bool = False) -> None:
    """Refuse a number outside [low, high] (or (low, high])."""
    bad = isinstance(value, bool) or not isinstance(value, (int, float))
    inside = not bad and (low < value if open_low else low <= value) and value <= high  # NaN is never inside
    if not inside:
        bracket = "(" if open_low else "["
        raise UserError(f"{key}={value} is not in {bracket}{_limit(low)}, {_limit(high)}]: it is {meaning}.")


def _limit(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def check_choice(key: str, value: str, choices: Iterable[str]) -> None:
    """Refuse a word that is not one of the choices."""
    choices = list(choices)
    if value not in choices:
        raise UserError(f"{key}={value} is not one of {', '.join(choices)}{closest(str(value), choices)}")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or the machine, has no memory left for what was asked."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and bool(_NO_MEMORY.search(str(error)))
