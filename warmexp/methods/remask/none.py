"""No revision: what is visible stays."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from warmexp.decode.strategy import Remask


@dataclass
class NoRemask(Remask):
    """Revokes nothing."""

    def may_fire(self, visits: Tensor) -> Tensor:
        return torch.zeros_like(visits, dtype=torch.bool)
