"""The cold start: every position of the canvas is masked (LLaDA's x_T, Eq. 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.canvas import Question, Start
from warmexp.decode.strategy import Init


@dataclass
class MaskInit(Init):
    """x_i = M for every i. Reads no proposal."""

    def start(self, question: Question, length: int, seed: int) -> Start:
        return Start(np.zeros(length, dtype=np.int64), np.zeros(length, dtype=bool))
