"""The cold start: every position of the canvas is masked (LLaDA's x_T, Eq. 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from warmexp.decode.state import Question, Start
from warmexp.decode.strategy import Init


@dataclass
class MaskInit(Init):
    """x_i = M for every i. Reads no proposal."""

    def start(self, question: Question, length: int, seed: int) -> Start:
        nothing = torch.zeros(length, dtype=torch.bool)
        return Start(torch.zeros(length, dtype=torch.long), nothing, nothing)
