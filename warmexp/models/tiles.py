"""Attention in tiles: which tiles of keys each tile of queries looks at, head by head, found once and then used.

A row's pattern is found from one dense forward. Every tile of queries keeps as many tiles of keys as any other, so that
what is kept can be gathered and attended to in one product; nothing of the size of rows times rows is ever held.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from warmexp.models.wanted import upload

DENSE, FIND, SPARSE = 0, 1, 2


@dataclass
class Tiles:
    """Patterns of a batch's rows. size: positions of a tile. share: of the prompt's tiles of keys, and of the
    response's, that is kept.

    kept: by slot, by layer, [H, tiles of queries, tiles kept] long, ascending.
    """

    size: int
    share: float
    kept: dict[int, list[Tensor]] = field(default_factory=dict)

    def move(self, source: int, target: int) -> None:
        """A row takes another's place."""
        self.kept.pop(target, None)
        if source in self.kept:
            self.kept[target] = self.kept.pop(source)


@dataclass(frozen=True)
class Attending:
    """How the rows of one forward attend. slots: [B], where their patterns are. modes: [B], DENSE, FIND (dense, and the
    pattern is found) or SPARSE. prompts, lengths: [B] int64, positions of the prompt and of the row."""

    tiles: Tiles
    slots: np.ndarray
    modes: np.ndarray
    prompts: np.ndarray
    lengths: np.ndarray

    def of(self, rows: slice | np.ndarray) -> Attending:
        """Some of its rows."""
        return Attending(self.tiles, self.slots[rows], self.modes[rows], self.prompts[rows], self.lengths[rows])

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """[B, H, T, D] queries, keys (both rotated, as many heads) and values -> [B, H, T, D]."""
        out = torch.empty_like(q)
        dense = np.flatnonzero(self.modes != SPARSE)
        if len(dense) == len(q):
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        elif len(dense):
            some = upload(dense, q.device)
            of = None if mask is None else mask[some]
            out[some] = F.scaled_dot_product_attention(q[some], k[some], v[some], attn_mask=of)
        for b, (slot, mode, length) in enumerate(
            zip(*map(np.ndarray.tolist, (self.slots, self.modes, self.lengths)), strict=True)
        ):
            if mode == FIND:
                found = pattern(q[b, :, :length], k[b, :, :length], self.tiles, int(self.prompts[b]))
                if layer == 0:
                    self.tiles.kept[slot] = []
                self.tiles.kept[slot].append(found)
            elif mode == SPARSE:
                kept = self.tiles.kept[slot][layer]
                here = slice(length)
                out[b, :, here] = sparse(q[b, :, here], k[b, :, here], v[b, :, here], kept, self.tiles.size)
                out[b, :, length:].zero_()
        return out


def pattern(q: Tensor, k: Tensor, tiles: Tiles, prompt: int) -> Tensor:
    """[H, n, m] long, ascending: of one row, the tiles of keys with the largest mean weight, for each tile of queries;
    so many of those that begin in the prompt and so many of the others. q, k: [H, T, D]."""
    size, count = tiles.size, -(-q.shape[1] // tiles.size)
    first = min(-(-prompt // size), count)
    groups = [slice(0, first), slice(first, count)]
    widths = upload(np.minimum(size, q.shape[1] - size * np.arange(count)), q.device)
    rows = []
    for start in range(0, q.shape[1], size):
        scores = q[:, start : start + size] @ k.transpose(1, 2) / q.shape[2] ** 0.5
        weight = F.pad(
            scores.softmax(-1, dtype=torch.promote_types(q.dtype, torch.float32)).mean(1),
            (0, count * size - q.shape[1]),
        )
        mean = weight.view(len(q), count, size).sum(-1) / widths
        chosen = [
            part.start
            + mean[:, part]
            .sort(dim=-1, descending=True, stable=True)
            .indices[:, : keeps(part.stop - part.start, tiles.share)]
            for part in groups
            if part.stop > part.start
        ]
        rows.append(torch.cat(chosen, 1).sort(-1).values)
    return torch.stack(rows, 1)


def keeps(count: int, share: float) -> int:
    """How many of so many tiles are kept: ⌊ρn⌋ + 1, as released, and not more than there are."""
    return min(count, int(count * share) + 1)


def sparse(q: Tensor, k: Tensor, v: Tensor, kept: Tensor, size: int) -> Tensor:
    """[H, T, D]: each tile of queries over the keys and values of its kept tiles. q, k, v: [H, T, D]. kept: [H, n,
    m]."""
    heads, length, width = q.shape
    count, most = kept.shape[1:]
    more = count * size - length
    qs, ks, vs = (F.pad(x, (0, 0, 0, more)).view(heads, count, size, width) for x in (q, k, v))
    head = torch.arange(heads, device=q.device)[:, None, None]
    ks, vs = (x[head, kept].view(heads * count, 1, most * size, width) for x in (ks, vs))
    mask = None
    if more:
        there = torch.arange(count * size, device=q.device).view(count, size) < length
        mask = there[kept].view(heads * count, 1, 1, most * size)
    out = F.scaled_dot_product_attention(qs.reshape(heads * count, 1, size, width), ks, vs, attn_mask=mask)
    return out.view(heads, count * size, width)[:, :length]
