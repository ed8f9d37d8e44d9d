"""A method in a package of its own: no file of warmexp is touched."""

from dataclasses import dataclass
from types import MappingProxyType

import torch

from warmexp.decode.strategy import Unmask
from warmexp.errors import check_range


@dataclass
class Margin(Unmask):
    """Commit every masked position whose two most probable tokens are at least `margin` apart in probability."""

    margin: float = 0.8
    temperature: float = 0.0
    reads_logits = True
    curve = "margin"
    symbols = MappingProxyType({"margin": "margin"})

    def __post_init__(self):
        check_range("unmask.margin", self.margin, 0, 1, "a difference of two probabilities")

    def select(self, block, reading):
        first, second = reading.logits.softmax(-1).topk(2).values.unbind(-1)  # [R], the positions that were read
        lead = torch.zeros_like(reading.confidence)
        lead[reading.rows] = first - second
        return block.masked & (lead >= self.margin)
