"""The hidden states somebody reads. The last layer needs queries and a feed-forward for these alone: nothing attends to its output."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# cos and sin of the rotary angles, broadcastable to [B, H, T, D].
Rotary = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Wanted:
    """R hidden states, at most Q in a row.

    columns: [B, Q] long, which of T columns hold them; rows with fewer are filled up with anything. flat: [R] long, indices into the
    flattened [B·Q] columns, in the order wanted.
    """

    columns: Tensor
    flat: Tensor

    @classmethod
    def of(cls, row: Tensor, column: Tensor, rows: int) -> Wanted:
        """From R (row, column) pairs in any order. Tensors on the host make nobody wait for a GPU."""
        order = row.argsort(stable=True)
        counts = row.bincount(minlength=rows)
        place = torch.empty_like(row)
        place[order] = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row[order]]
        columns = torch.zeros(rows, int(counts.max()), dtype=torch.long, device=row.device)
        columns[row, place] = column
        return cls(columns, row * columns.shape[1] + place)

    def to(self, device: torch.device) -> Wanted:
        return Wanted(self.columns.to(device), self.flat.to(device))

    def columns_of(self, x: Tensor) -> Tensor:
        """[B, T, d] -> [B, Q, d]."""
        return x.gather(1, self.columns[..., None].expand(-1, -1, x.shape[-1]))

    def rotary_of(self, rotary: Rotary) -> Rotary:
        """[T, D] or [B, 1, T, D] each -> [B, 1, Q, D]."""
        return tuple(t[self.columns][:, None] if t.dim() == 2 else self.columns_of(t[:, 0])[:, None] for t in rotary)

    def states_of(self, x: Tensor) -> Tensor:
        """[B, Q, d] -> [R, d]."""
        return x.flatten(0, 1)[self.flat]
