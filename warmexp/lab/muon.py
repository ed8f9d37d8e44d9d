"""Muon in float32: torch's own works in bfloat16, which is ten times slower on processors that have to emulate it.

Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers", coefficients and five steps as there; updates scaled
to AdamW's size (Liu et al. 2025, arXiv 2502.16982), as torch.optim.Muon does with adjust_lr_fn="match_rms_adamw".
"""

from __future__ import annotations

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonal(gradient: Tensor, steps: int = 5) -> Tensor:
    """The nearest matrices with singular values near one, by Newton-Schulz iterations. gradient: [..., rows, columns],
    float32."""
    a, b, c = COEFFICIENTS
    x = gradient / gradient.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """For matrices only; Nesterov momentum, decoupled weight decay. Matrices of one shape are made orthogonal together:
    on a GPU a step is a hundred small products otherwise."""

    def __init__(self, params, lr: float, weight_decay: float = 0.01, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            shapes: dict[tuple[int, ...], list[Tensor]] = {}
            for p in group["params"]:
                shapes.setdefault(p.shape, []).append(p)
            for shape, members in shapes.items():
                for p in members:
                    if "momentum_buffer" not in self.state[p]:
                        self.state[p]["momentum_buffer"] = torch.zeros_like(p)
                gradients, buffers = [p.grad for p in members], [self.state[p]["momentum_buffer"] for p in members]
                torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
                ahead = torch._foreach_lerp(gradients, buffers, group["momentum"])
                updates = list(orthogonal(torch.stack(ahead)).unbind())
                torch._foreach_mul_(members, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(members, updates, alpha=-group["lr"] * 0.2 * max(shape) ** 0.5)
