"""Mixture of experts in the place of a feed-forward: a router chooses few of many small ones for each position.

Two kinds of router are published for masked diffusion models: OLMoE's (LLaDA-MoE, arXiv 2509.24389), the most probable
experts of a softmax, weighted by their probabilities; and DeepSeek-V3's (LLaDA2, arXiv 2512.15745), where a bias takes
part in the choice and not in the weights, and groups of experts are chosen before experts.

What a position gets depends on that position alone: its experts' outputs are added in the order of their scores, and on
a CPU every product has at least as many rows as it takes for a row not to depend on the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from warmexp.models.linear import FEWEST, Linear

SCORES = ("softmax", "sigmoid")


@dataclass(frozen=True)
class ExpertsConfig:
    """count: experts of a layer. chosen: those that a position is given. width: the inner width of each. shared: that
    of the one that every position is given besides, 0: none. dense: layers that have an ordinary feed-forward instead.

    scores: of SCORES, what the router's logits become. bias: whether a number per expert is added to its score where
    experts are chosen. groups, chosen_groups: experts stand in so many groups of equal size, of which those stay that
    have the largest sum of their two best scores. normalised: whether the weights of the chosen are divided by their
    sum; scale: what they are multiplied by.
    """

    count: int
    chosen: int
    width: int
    shared: int = 0
    dense: tuple[int, ...] = ()
    scores: str = "softmax"
    bias: bool = False
    groups: int = 1
    chosen_groups: int = 1
    normalised: bool = False
    scale: float = 1.0


class Weights(nn.Module):
    """The matrices [out, in] of all experts, [count, out, in].

    together: whether one product may be made of all of them (`product`). least: the rows that a GPU's product of one
    of them should have a multiple of.
    """

    together = True
    least = 1

    def __init__(self, *shape: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))

    def of(self, n: int) -> Tensor:
        """[out, in], the n-th expert's."""
        return self.weight[n]

    def product(self, x: Tensor, ends: Tensor, expert: Tensor) -> Tensor:
        """[N, in] -> [N, out], on a GPU. The rows are sorted by expert, [N]; the n-th one's end before ends[n]."""
        return torch._grouped_mm(x, self.weight.transpose(1, 2), ends)


class Router(nn.Module):
    """Which experts a position is given, with what weights. Computed in at least float32, as published."""

    def __init__(self, d_model: int, c: ExpertsConfig):
        super().__init__()
        self.config = c
        self.weight = nn.Parameter(torch.empty(c.count, d_model))
        self.bias = nn.Parameter(torch.zeros(c.count)) if c.bias else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[T, d] -> [T, chosen] long and wide float, the best first."""
        c, wide = self.config, torch.promote_types(x.dtype, torch.float32)
        logits = F.linear(x.to(wide), self.weight.to(wide))
        scores = logits.softmax(-1) if c.scores == "softmax" else logits.sigmoid()
        ranked = scores if self.bias is None else scores + self.bias.to(wide)
        if c.groups > 1:
            grouped = ranked.unflatten(-1, (c.groups, -1))
            best = grouped.topk(2, -1).values.sum(-1).topk(c.chosen_groups, -1).indices
            out = torch.ones_like(grouped[..., 0], dtype=torch.bool).scatter(-1, best, False)
            ranked = grouped.masked_fill(out[..., None], -torch.inf).flatten(-2)
        expert = ranked.topk(c.chosen, -1).indices
        weight = scores.gather(-1, expert)
        if c.normalised:
            weight = weight / (weight.sum(-1, keepdim=True) + 1e-20)
        return expert, weight * c.scale


class Experts(nn.Module):
    """Router, experts, and one that every position is given."""

    def __init__(self, d_model: int, c: ExpertsConfig):
        super().__init__()
        self.router = Router(d_model, c)
        self.ff_proj, self.up_proj = Weights(c.count, c.width, d_model), Weights(c.count, c.width, d_model)
        self.ff_out = Weights(c.count, d_model, c.width)
        self.count = c.count
        self.shared = Shared(d_model, c.shared) if c.shared else None

    def forward(self, h: Tensor) -> Tensor:
        """[..., d] -> [..., d]."""
        x = h.flatten(0, -2)
        expert, weight = self.router(x)
        flat = expert.flatten()
        order = flat.argsort(stable=True)
        position = order // expert.shape[1]
        made = torch.empty(len(order), x.shape[1], dtype=x.dtype, device=x.device)
        counts = torch.zeros(self.count, dtype=torch.long, device=x.device)
        counts.scatter_add_(0, flat, torch.ones_like(flat))  # bincount would make a GPU wait
        if grouped(x) and self.ff_out.together:
            made[order] = self._grouped(x[position], counts, flat[order])
        else:
            made[order] = self._looped(x[position], counts)
        said = (made.view(*expert.shape, -1) * weight[..., None].to(x.dtype)).sum(1).view_as(h)
        return said if self.shared is None else said + self.shared(h)

    def _grouped(self, x: Tensor, counts: Tensor, expert: Tensor) -> Tensor:
        """[N, d], sorted by expert, [N], of which each has so many -> [N, d], in three products for all experts."""
        ends = counts.cumsum(0).to(torch.int32)
        gate, value = (w.product(x, ends, expert) for w in (self.ff_proj, self.up_proj))
        return self.ff_out.product(F.silu(gate) * value, ends, expert)

    def _looped(self, x: Tensor, counts: Tensor) -> Tensor:
        """The same, one expert after the other."""
        parts, least = [], FEWEST if x.is_cpu else self.ff_out.least
        for n, part in enumerate(x.split(counts.tolist())):
            if len(part):
                rows = F.pad(part, (0, 0, 0, -len(part) % least)) if least > 1 else part
                gate, value = F.linear(rows, self.ff_proj.of(n)), F.linear(rows, self.up_proj.of(n))
                parts.append(F.linear(F.silu(gate) * value, self.ff_out.of(n))[: len(part)])
        return torch.cat(parts)

    def one(self, x: Tensor) -> Tensor:
        """The same for a single position, [d] -> [d], as it is written down in the papers."""
        expert, weight = (chosen[0] for chosen in self.router(x[None]))
        said = torch.zeros_like(x) if self.shared is None else self.shared(x)
        for n, share in zip(expert.tolist(), weight.to(x.dtype), strict=True):
            inner = F.silu(F.linear(x[None], self.ff_proj.of(n))) * F.linear(x[None], self.up_proj.of(n))
            said = said + share * F.linear(inner, self.ff_out.of(n))[0]
        return said


class Shared(nn.Module):
    """An ordinary feed-forward."""

    def __init__(self, d_model: int, width: int):
        super().__init__()
        self.ff_proj, self.up_proj = (Linear(d_model, width, bias=False) for _ in range(2))
        self.ff_out = Linear(width, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.ff_out(F.silu(self.ff_proj(x)) * self.up_proj(x))


def grouped(x: Tensor) -> bool:
    """Whether torch multiplies all experts at once: on a GPU, in bfloat16."""
    return x.is_cuda and x.dtype == torch.bfloat16 and hasattr(torch, "_grouped_mm")
