"""The whole canvas at once: every masked position is eligible in every forward."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.strategy import Length, Schedule


@dataclass
class WholeCanvas(Schedule):
    """The window is the canvas, whatever `length.block_length` is. Unmasking policies that choose among blocks
    themselves ask for it; with others it is length.block_length = length.canvas_length."""

    def width(self, length: Length) -> int:
        return length.canvas_length

    def advance(self, start: np.ndarray, todo: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        return start, np.asarray(todo.any(1))
