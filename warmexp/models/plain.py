"""The backbone's forward without any of the engine's machinery: what the fast one is compared with (`engine=plain`).

For batches of one question. Every layer and the head run on every computed position; keys and values of the other positions are put
together anew in each layer and rotated only then.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from warmexp.models.backbone import Backbone
from warmexp.models.keys_values import Window
from warmexp.models.transformer import Block, rotary_tables


@dataclass
class PlainBackbone(Backbone):
    """kept: by row, per layer the keys (not rotated) and values [T, H·D] of all its positions."""

    kept: dict[int, list[tuple[Tensor, Tensor]]] = field(default_factory=dict)

    def __call__(
        self,
        ids: Tensor,
        lengths: Tensor,
        row: Tensor,
        position: Tensor,
        embeddings: Tensor | None = None,
        window: Window | None = None,
    ) -> Tensor:
        x = self.embed(ids) if embeddings is None else embeddings
        logits = []
        for b, length in enumerate(lengths.tolist()):
            start = int(window.starts[b]) if window else 0
            until = start + int(window.counts[b]) if window else length
            slot = window.rows[b] if window else -1  # no slot of the canvas: what is verified is not what is decoded
            if window is None or until - start == length:
                self.kept.pop(slot, None)
            read = self._row(x[b, : until - start], start, slot)
            wanted = (position[row == b] - self.shift - start).to(read.device)
            logits.append(read[wanted])
        order = torch.cat([(row == b).nonzero()[:, 0] for b in range(len(lengths))])
        return torch.cat(logits)[order.argsort().to(x.device)]

    def _row(self, x: Tensor, start: int, slot: int) -> Tensor:
        """[Q, d] input embeddings of the positions from `start` on -> [Q, V] logits."""
        before = self.kept.get(slot)
        self.kept[slot] = []
        for n, layer in enumerate(self.transformer.blocks):
            x = self._layer(layer, x, start, slot, before[n] if before else None)
        return self.transformer.head(self.transformer.ln_f(x))

    def _layer(self, layer: Block, x: Tensor, start: int, slot: int, before: tuple[Tensor, Tensor] | None) -> Tensor:
        h = layer.attn_norm(x)
        kept = (layer.k_proj(h), layer.v_proj(h))
        if before is not None:
            kept = tuple(torch.cat((old[:start], new, old[start + len(x) :])) for old, new in zip(before, kept, strict=True))
        self.kept[slot].append(kept)
        q, k, v = (y.unflatten(-1, (-1, layer.head_dim)).transpose(0, 1) for y in (layer.q_proj(h), *kept))
        groups = len(q) // len(k)
        k, v = self._rotated(k, 0).repeat_interleave(groups, 0), v.repeat_interleave(groups, 0)
        mixed = F.scaled_dot_product_attention(self._rotated(q, start)[None], k[None], v[None])[0]
        x = x + layer.attn_out(mixed.transpose(0, 1).flatten(1))
        h = layer.ff_norm(x)
        return x + layer.ff_out(F.silu(layer.ff_proj(h)) * layer.up_proj(h))

    def _rotated(self, x: Tensor, start: int) -> Tensor:
        """[H, T, D] at positions start, start + 1, …"""
        positions = torch.arange(start, start + x.shape[1], device=x.device)
        config = self.transformer.config
        wide = torch.promote_types(x.dtype, torch.float32)
        cos, sin = (t.to(wide) for t in rotary_tables(positions, config.head_dim, config.rope_theta))
        left, right = x.to(wide).chunk(2, dim=-1)
        return (x * cos + torch.cat((-right, left), dim=-1) * sin).to(x.dtype)
