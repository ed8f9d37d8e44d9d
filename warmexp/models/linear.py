"""Matrix products with weights that are stored the way the processor's vector unit reads them.

For float32 on a CPU torch asks MKL, which on processors that Intel has not made uses half of the vector width and sorts
the weights anew in every product. oneDNN, which is built into torch too, uses all of it and keeps them sorted: 170 to
210 GFLOP/s of one core of an AMD EPYC at the lab's sizes, where MKL reaches 80 to 100.
"""

from __future__ import annotations

import platform
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# What torch.compile's own CPU code calls.
_ONEDNN: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
# oneDNN generates code for every number of rows that it meets, a millisecond each: there should be few, and they are
# multiples of this.
ROWS = 8
# Elsewhere a CPU's product of 1 to 3 rows sums in another order than one of more: a row would depend on its batch.
FEWEST = 4


def packs(weight: Tensor) -> bool:
    """Whether packing gains anything: without AVX-512 the two libraries are alike. Quantized weights, of a type of
    their own, are packed already."""
    wide = platform.machine() in ("x86_64", "AMD64") and torch.backends.cpu.get_cpu_capability() == "AVX512"
    if _ONEDNN is None or type(weight) not in (Tensor, nn.Parameter):
        return False
    return wide and weight.is_cpu and weight.dtype == torch.float32 and not weight.is_mkldnn


class Linear(nn.Linear):
    """nn.Linear whose weight may be packed."""

    def pack(self) -> None:
        """In place: `weight` is then opaque (to_dense() gives the numbers), and has no gradient."""
        with torch.inference_mode(False), torch.no_grad():
            self.weight = nn.Parameter(torch.ops.mkldnn._reorder_linear_weight(self.weight, None), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.is_mkldnn:
            return _ONEDNN.default(x, self.weight, self.bias, "none", [], "")
        return F.linear(x, self.weight, self.bias)
