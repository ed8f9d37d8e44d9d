"""Keys and values that outlive a forward: buffers allocated once, written in place, read as views.

Keys are stored rotated, so that nothing is rotated twice; an entry belongs to its position. Who is computed and who is
read is not decided here (warmexp/methods/cache/).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from warmexp.models.transformer import Keep, ModelConfig
from warmexp.models.wanted import upload


def position_bytes(config: ModelConfig, dtype: torch.dtype) -> int:
    """What is kept of one position, in all layers."""
    return 2 * config.n_layers * config.n_kv_heads * config.head_dim * dtype.itemsize


class KeysValues:
    """Of a batch's rows: keys, values [layers, rows, width, H, D]. The last column takes what padding computes; nobody
    reads it."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype, device: torch.device):
        self.config = config
        # Zeros, because attention gives columns beyond a row's end the weight 0, and 0 times an uninitialised NaN is
        # NaN.
        shape = (config.n_layers, 0, 1, config.n_kv_heads, config.head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)

    def reserve(self, rows: int, length: int) -> None:
        """Room for `rows` rows of `length` positions; what is stored stays. Longest rows first, and this copies
        nothing."""
        have_rows, have_length = self.keys.shape[1], self.keys.shape[2] - 1
        if rows <= have_rows and length <= have_length:
            return
        layers, _, _, heads, size = self.keys.shape
        shape = (layers, max(rows, have_rows), max(length, have_length) + 1, heads, size)
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_zeros(shape)
            new[:, :have_rows, :have_length] = old[:, :, :have_length]
            setattr(self, name, new)

    def move(self, source: int, target: int) -> None:
        """A row takes another's place."""
        self.keys[:, target], self.values[:, target] = self.keys[:, source], self.values[:, source]

    def window(self, rows: list[int], starts: Tensor, counts: Tensor, lengths: Tensor) -> Window:
        """What one forward of `rows` computes and reads.

        Args (on the host, [B] long): the positions starts … starts + counts - 1 of each row are computed, nothing
        behind its first `lengths` is attended to.
        """
        start, count, reach = starts.numpy(), counts.numpy(), self.keys.shape[2]
        columns = np.minimum(start[:, None] + np.arange(count.max()), reach - 1)
        same = bool((start == start[0]).all() and (count == count[0]).all())
        full = bool((count == lengths.numpy()).all())
        common = slice(int(start[0]), int(start[0] + count[0])) if same else None
        columns_there = upload(columns, self.keys.device)
        return Window(self, rows, starts, counts, lengths, columns_there, int(lengths.max()), full, common)

    def window_of(self, rows: list[int], chosen: np.ndarray, lengths: Tensor, seen: np.ndarray | None = None) -> Window:
        """The same where the positions `chosen`, [B, T] bool, are computed, and of the first `lengths` those `seen` are
        attended to, [B, T] bool; None: all."""
        count, reach = chosen.sum(1), self.keys.shape[2]
        order = np.argsort(~chosen, axis=1, kind="stable")[:, : count.max()]
        columns = np.where(np.arange(order.shape[1]) < count[:, None], order, reach - 1)
        starts, counts = torch.from_numpy(columns[:, 0].copy()), torch.from_numpy(count)
        there, width = upload(columns, self.keys.device), int(lengths.max())
        full = seen is None and bool((count == lengths.numpy()).all()) and bool((count == count[0]).all())
        return Window(self, rows, starts, counts, lengths, there, width, full, None, chosen, seen, columns)


@dataclass(frozen=True)
class Window:
    """One forward's share of the buffers. starts, counts, lengths: [B] on the host; columns: [B, Q], where the computed
    positions are kept, which is also where they stand (but for padding); width: columns that are attended to. full:
    nothing is left to read. common: the columns all rows have in common, if they have all of them in common. chosen,
    seen: [B, T] bool on the host, of a set of positions (window_of), and host_columns: `columns`."""

    store: KeysValues
    rows: list[int]
    starts: Tensor
    counts: Tensor
    lengths: Tensor
    columns: Tensor
    width: int
    full: bool
    common: slice | None
    chosen: np.ndarray | None = None
    seen: np.ndarray | None = None
    host_columns: np.ndarray | None = None

    @property
    def reach(self) -> int:
        """More than any of `columns`."""
        return self.store.keys.shape[2]

    def places(self, extra: int) -> Tensor:
        """`columns` and so many more on the right, whose keys and values nobody reads."""
        return pad(self.columns, (0, extra), value=self.reach - 1) if extra else self.columns

    def of(self, part: slice) -> Window:
        """Some of its rows."""
        if self.chosen is not None:
            seen = None if self.seen is None else self.seen[part]
            return self.store.window_of(self.rows[part], self.chosen[part], self.lengths[part], seen)
        return self.store.window(self.rows[part], self.starts[part], self.counts[part], self.lengths[part])

    def column(self, row: Tensor, position: Tensor) -> Tensor:
        """[R] long, where among the computed positions of a row a position stands; all on the host."""
        if self.chosen is None:
            return position - self.starts[row]
        return torch.from_numpy(self.chosen.cumsum(1) - 1)[row, position]

    def layers(self) -> list[Keep]:
        """By layer, what writes this forward's [B, H, Q, D] where they belong and gives back [B, H, width, D]. More
        than Q are left out."""
        first = self.rows[0]
        together = self.rows == list(range(first, first + len(self.rows)))
        rows = slice(first, first + len(self.rows)) if together else upload(np.array(self.rows), self.columns.device)
        if together and self.common is not None:
            place: tuple[slice | Tensor, slice | Tensor] = (rows, self.common)
        else:
            place = (upload(np.array(self.rows)[:, None], self.columns.device), self.columns)
        return [
            partial(self._keep, *pair, rows, place) for pair in zip(self.store.keys, self.store.values, strict=True)
        ]

    def _keep(
        self,
        old_keys: Tensor,
        old_values: Tensor,
        rows: slice | Tensor,
        place: tuple[slice | Tensor, ...],
        keys: Tensor,
        values: Tensor,
    ) -> tuple[Tensor, Tensor]:
        keys, values = keys[:, :, : self.columns.shape[1]], values[:, :, : self.columns.shape[1]]
        old_keys[place], old_values[place] = keys.transpose(1, 2), values.transpose(1, 2)
        if self.full:
            return keys, values
        return old_keys[rows, : self.width].transpose(1, 2), old_values[rows, : self.width].transpose(1, 2)
