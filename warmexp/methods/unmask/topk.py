"""LLaDA's low-confidence schedule: a quota of the most confident positions per forward (arXiv 2502.09992)."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from warmexp.decode.reading import Block, Reading
from warmexp.decode.strategy import Unmask
from warmexp.errors import check_range


@dataclass
class TopK(Unmask):
    """Commit the ⌈m / (s - k)⌉ most confident of the block's m masked positions in its k-th forward (from 0) of s planned ones.

    On an untouched block that is LLaDA's published table (⌊m/s⌋, one more in the first m mod s forwards). It is recomputed from what
    is masked now, so injected tokens shrink it and revoked ones cannot exhaust it; past the plan one forward takes the rest.

    steps_per_block: s ≥ 1. temperature: as in unmask=threshold.
    """

    steps_per_block: int = 8
    temperature: float = 0.0
    curve = "steps_per_block"
    symbols = MappingProxyType({"steps_per_block": "topk s"})

    def __post_init__(self) -> None:
        check_range("unmask.steps_per_block", self.steps_per_block, 1, 10**6, "the number of forwards planned for a block")
        check_range("unmask.temperature", self.temperature, 0, 100, "the sampling temperature")

    def select(self, block: Block, reading: Reading) -> Tensor:
        left = (self.steps_per_block - block.visits).clamp(min=1)
        masked = block.masked.sum(1)
        quota = (masked + left - 1) // left
        # A stable descending sort gives equal confidences to the lowest index.
        order = reading.confidence.argsort(dim=1, descending=True, stable=True)
        rank = torch.empty_like(order).scatter_(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
        return block.masked & (rank < quota[:, None])
