"""The backbone's forward without any of the engine's machinery: what the fast one is compared with (`engine=plain`, and
bench/plain.py).

For one sequence. Every layer and the head run on every computed position; keys and values of the other positions are
kept as the layers' projections gave them, and rotated only where they are used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from warmexp.models.backbone import Backbone
from warmexp.models.keys_values import Window
from warmexp.models.tiles import Attending
from warmexp.models.transformer import Block, Transformer, rotary_tables

KeysValues = list[tuple[Tensor, Tensor]]


class PlainForward:
    """A transformer's own layers, put together for one sequence of `length` positions and windows of it."""

    def __init__(self, transformer: Transformer, length: int, attention_block: int | None = None):
        """attention_block: as in ModelConfig, where it is not the transformer's own."""
        self.transformer = transformer
        self.attention_block = transformer.config.attention_block if attention_block is None else attention_block
        weight, config = transformer.wte.weight, transformer.config
        wide = torch.promote_types(weight.dtype, torch.float32)
        positions = torch.arange(length, device=weight.device)
        tables = rotary_tables(positions, config.rotary_dim, config.rope_theta, config.rotary_rounded)
        self.cos, self.sin = (table[:, : config.rotary_dim // 2].to(wide) for table in tables)

    def logits(
        self,
        x: Tensor,
        start: int | Tensor,
        kept: KeysValues | None = None,
        keep: KeysValues | None = None,
        seen: Tensor | None = None,
        attend: Attending | None = None,
    ) -> Tensor:
        """The input embeddings [Q, d] of the positions from `start` on -> [Q, V] logits, computed from these positions
        alone and the kept keys and values of the others.

        kept: per layer keys (not rotated) and values, [H, T, D] each, T = start (what follows the window is in the
        window) or the whole sequence's (the window's are overwritten). keep: an empty list that is filled with those of
        the window and of what stands before it. Or start is [Q], positions anywhere, whose keys and values are written
        over those in kept, the whole sequence's, of which those seen, [T] bool, are attended to.
        """
        size = self.attention_block
        for n, layer in enumerate(cast("Iterable[Block]", self.transformer.blocks)):
            a = layer.attn_norm(x)
            q, keys, values = (self._heads(p(a)) for p in (layer.q_proj, layer.k_proj, layer.v_proj))
            q, keys = _normed(layer.q_norm, q), _normed(layer.k_norm, keys)
            if isinstance(start, Tensor) and kept is not None:
                keys, values = _placed(kept[n], keys, values, start)
            elif kept is not None:
                keys, values = _merged(kept[n], keys, values, int(start))
            if keep is not None:
                keep.append((keys, values))
            if size:
                seen = _seen(int(start), len(x), keys.shape[1], size, x.device)
            groups = q.shape[0] // keys.shape[0]
            places = start if isinstance(start, Tensor) else torch.arange(start, start + len(x), device=x.device)
            q, keys = self._rotated(q, places), self._rotated(keys, torch.arange(keys.shape[1], device=x.device))
            if groups > 1:
                keys, values = keys.repeat_interleave(groups, 0), values.repeat_interleave(groups, 0)
            if attend is None:
                mixed = F.scaled_dot_product_attention(q[None], keys[None], values[None], attn_mask=seen)[0]
            else:
                mixed = attend(n, q[None], keys[None], values[None], None)[0]
            x = x + layer.attn_out(mixed.transpose(0, 1).flatten(1))
            a = layer.ff_norm(x)
            if layer.experts is None:
                x = x + layer.ff_out(F.silu(layer.ff_proj(a)) * layer.up_proj(a))
            else:
                x = x + torch.stack([layer.experts.one(position) for position in a])
        return self.transformer.head(self.transformer.ln_f(x))

    def _heads(self, x: Tensor) -> Tensor:
        """[T, H·D] -> [H, T, D]."""
        return x.unflatten(-1, (-1, self.transformer.config.head_dim)).transpose(0, 1)

    def _rotated(self, x: Tensor, places: Tensor) -> Tensor:
        """Rotary embedding of [H, T, D] at these positions, [T]; the two halves of the first R of D are the
        coordinates of R/2 planes."""
        cos, sin = self.cos[places], self.sin[places]
        size = cos.shape[1]
        a, b, rest = x.to(cos.dtype).split([size, size, x.shape[2] - 2 * size], dim=-1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin, rest), -1).to(x.dtype)


def _normed(norm: torch.nn.Module | None, x: Tensor) -> Tensor:
    return x if norm is None else norm(x)


def _seen(start: int, queries: int, keys: int, size: int, device: torch.device) -> Tensor:
    """[queries, keys] bool: what is in a query's block of `size` positions or before it."""
    made = torch.zeros(queries, keys, dtype=torch.bool, device=device)
    for i in range(queries):
        made[i, : ((start + i) // size + 1) * size] = True
    return made


def _placed(old: tuple[Tensor, Tensor], keys: Tensor, values: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """The whole sequence's keys and values, with new ones at some positions, in place."""
    old[0][:, at], old[1][:, at] = keys, values
    return old


def _merged(old: tuple[Tensor, Tensor], keys: Tensor, values: Tensor, start: int) -> tuple[Tensor, Tensor]:
    """The whole sequence's keys and values: put behind the kept prefix in new tensors, or written over the window's in
    place."""
    if old[0].shape[1] < start + keys.shape[1]:
        return torch.cat((old[0][:, :start], keys), 1), torch.cat((old[1][:, :start], values), 1)
    for whole, new in zip(old, (keys, values), strict=True):
        whole[:, start : start + new.shape[1]] = new
    return old


@dataclass
class PlainBackbone(Backbone):
    """A backbone that computes its rows one by one. kept: by row, the keys and values of all its positions."""

    kept: dict[int, KeysValues] = field(default_factory=dict)

    def read_causally(self) -> Backbone:
        return replace(self, logits="shifted", causal=True, kept={})

    def __call__(
        self,
        ids: Tensor,
        lengths: Tensor,
        row: Tensor,
        position: Tensor,
        embeddings: Tensor | None = None,
        window: Window | None = None,
        attend: Attending | None = None,
    ) -> Tensor:
        x = self.embed(ids) if embeddings is None else embeddings
        logits = []
        for b, length in enumerate(lengths.tolist()):
            if window is not None and window.chosen is not None:
                at = position[row == b] - self.shift
                read = self._set(x[b], length, window, b)
                logits.append(read[window.column(torch.full_like(at, b), at).to(read.device)])
                continue
            start = int(window.starts[b]) if window else 0
            until = start + int(window.counts[b]) if window else length
            only = None if attend is None else attend.of(slice(b, b + 1))
            read = self._row(x[b, : until - start], start, length, window.rows[b] if window else None, only)
            wanted = (position[row == b] - self.shift - start).to(read.device)
            logits.append(read[wanted])
        order = torch.cat([(row == b).nonzero()[:, 0] for b in range(len(lengths))])
        return torch.cat(logits)[order.argsort().to(x.device)]

    def _row(self, x: Tensor, start: int, length: int, slot: int | None, attend: Attending | None = None) -> Tensor:
        """[Q, d] input embeddings of a row's positions from `start` on -> [Q, V] logits. slot: the canvas's; None where
        nothing is kept."""
        forward = PlainForward(self.transformer, length, self.attention_block)
        if slot is None:
            return forward.logits(x, start, attend=attend)
        anew = len(x) == length or (start == 0 and self.attention_block > 0)
        before, self.kept[slot] = None if anew else self.kept[slot], []
        return forward.logits(x, start, kept=before, keep=self.kept[slot])

    def _set(self, x: Tensor, length: int, window: Window, b: int) -> Tensor:
        """The same of a set of positions, the first of x [Q, d] in the order in which they stand."""
        chosen = torch.from_numpy(window.chosen[b, :length]) if window.chosen is not None else torch.empty(0)
        seen = chosen | True if window.seen is None else torch.from_numpy(window.seen[b, :length])
        forward, slot = PlainForward(self.transformer, length), window.rows[b]
        if not (seen & ~chosen).any():
            c = self.transformer.config
            empty = x.new_zeros(2, c.n_kv_heads, length, c.head_dim)
            self.kept[slot] = [(empty[0].clone(), empty[1].clone()) for _ in range(c.n_layers)]
        at = chosen.nonzero()[:, 0].to(x.device)
        return forward.logits(x[: len(at)], at, kept=self.kept[slot], seen=seen.to(x.device)[None])
