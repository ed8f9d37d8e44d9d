"""Block by block from left to right (semi-autoregressive, as LLaDA and Fast-dLLM decode)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.strategy import Length, Schedule


@dataclass
class Blocks(Schedule):
    """The window is the first block of `length.block_length` positions, at or behind the last one, in which anything is
    left to do."""

    def width(self, length: Length) -> int:
        return length.block_length

    def advance(self, start: np.ndarray, todo: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        left = todo.reshape(len(todo), -1, width).any(2)
        left &= np.arange(left.shape[1]) * width >= start[:, None]
        live = np.asarray(left.any(1))
        return np.where(live, left.argmax(1) * width, start), live
