"""Muon in float32: torch's own works in bfloat16, which is ten times slower on processors that have to emulate it.

Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers", coefficients and five steps as there; updates scaled
to AdamW's size (Liu et al. 2025, arXiv 2502.16982), as torch.optim.Muon does with adjust_lr_fn="match_rms_adamw".
"""

from __future__ import annotations

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonal(gradient: Tensor, steps: int = 5) -> Tensor:
    """The nearest matrix with singular values near one, by Newton-Schulz iterations. gradient: [rows, columns],
    float32."""
    a, b, c = COEFFICIENTS
    x = gradient / gradient.norm().clamp(min=1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """For matrices only; Nesterov momentum, decoupled weight decay."""

    def __init__(self, params, lr: float, weight_decay: float = 0.01, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(p)
                buffer = state["momentum_buffer"].lerp_(p.grad, 1 - group["momentum"])
                update = orthogonal(p.grad.lerp(buffer, group["momentum"]))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * 0.2 * max(p.shape) ** 0.5)
