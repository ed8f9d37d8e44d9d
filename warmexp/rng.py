"""Keyed random draws: a question's draws depend on (seed, question id, purpose, step) and on nothing else.

No global state, so batch size, batch neighbours, order, resume and device cannot change a result. The generator is
NumPy's counter-based Philox; its 128-bit key is a hash of seed, question and purpose, its counter starts at the step.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np


@lru_cache(maxsize=65536)
def _key(seed: int, question: str, purpose: str) -> int:
    digest = hashlib.blake2b(f"{seed}\x00{question}\x00{purpose}".encode(), digest_size=16).digest()
    return int.from_bytes(digest, "little")


def uniform(seed: int, question: str, purpose: str, shape: int | tuple[int, ...], step: int = 0) -> np.ndarray:
    """Independent draws from U[0, 1), float64, of the given shape.

    The same draws are thresholded by every rate (ρ, p, r), so runs that differ only in a rate share their luck
    (common random numbers) and nested rates keep nested sets.
    """
    return np.random.Generator(_generator(seed, question, purpose, step)).random(shape)


def bits(seed: int, question: str, purpose: str, count: int, step: int = 0) -> np.ndarray:
    """[count] uint64, independent draws of 64 bits. The first of them are the same for every count."""
    return _generator(seed, question, purpose, step).random_raw(count)


def _generator(seed: int, question: str, purpose: str, step: int) -> np.random.Philox:
    # 2**64 blocks per step: two steps of one purpose can never overlap.
    return np.random.Philox(key=_key(seed, question, purpose), counter=step << 64)
