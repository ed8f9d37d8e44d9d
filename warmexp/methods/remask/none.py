"""No revision: what is visible stays."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from warmexp.decode.reading import Block, Reading


@dataclass
class NoRemask:
    """Revokes nothing."""

    shadows = False
    reads_logits = False

    def candidates(self, source: Tensor) -> Tensor:
        return torch.zeros_like(source, dtype=torch.bool)

    def may_fire(self, visits: Tensor) -> Tensor:
        return torch.zeros_like(visits, dtype=torch.bool)

    def select(self, block: Block, reading: Reading, commit: Tensor) -> Tensor:
        return torch.zeros_like(block.masked)
