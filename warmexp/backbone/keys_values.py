"""Keys and values that outlive a forward: buffers allocated once, written in place, read as views.

Keys are stored rotated, so that nothing is rotated twice; an entry belongs to its position. Who is computed and who is read is not decided
here (warmexp/cache/).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from warmexp.backbone.transformer import Keep, ModelConfig


class KeysValues:
    """Of a batch's rows: keys, values [layers, rows, width, H, D]. The last column takes what padding computes; nobody reads it."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype, device: torch.device):
        self.config = config
        # Zeros, because attention gives columns beyond a row's end the weight 0, and 0 times an uninitialised NaN is NaN.
        shape = (config.n_layers, 0, 1, config.n_kv_heads, config.head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)

    def reserve(self, rows: int, length: int) -> None:
        """Room for `rows` rows of `length` positions; what is stored stays. Longest rows first, and this copies nothing."""
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

        Args (on the host, [B] long): the positions starts … starts + counts - 1 of each row are computed, all `lengths` are attended to.
        """
        device = self.keys.device
        positions = starts[:, None] + torch.arange(int(counts.max()))
        columns = positions.clamp(max=self.keys.shape[2] - 1)
        full = bool((counts == lengths).all())
        return Window(
            self, rows, starts, counts, positions.to(device), columns.to(device), int(lengths.max()), full, _slice(starts, counts)
        )


def _slice(starts: Tensor, counts: Tensor) -> slice | None:
    """The columns all rows have in common, if they have all of them in common."""
    if bool((starts == starts[0]).all()) and bool((counts == counts[0]).all()):
        return slice(int(starts[0]), int(starts[0] + counts[0]))
    return None


@dataclass(frozen=True)
class Window:
    """One forward's share of the buffers. starts, counts: [B] on the host; positions, columns: [B, Q]; width: columns that are
    attended to. full: nothing is left to read. common: see _slice."""

    store: KeysValues
    rows: list[int]
    starts: Tensor
    counts: Tensor
    positions: Tensor
    columns: Tensor
    width: int
    full: bool
    common: slice | None

    def of(self, part: slice, lengths: Tensor) -> Window:
        """Some of its rows, which have `lengths`."""
        return self.store.window(self.rows[part], self.starts[part], self.counts[part], lengths)

    def layers(self) -> list[Keep]:
        return [partial(self._keep, n) for n in range(self.store.config.n_layers)]

    def _keep(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write this forward's [B, H, Q, D] where they belong, give back [B, H, width, D]."""
        pair = (self.store.keys[layer], self.store.values[layer])
        for buffer, new in zip(pair, (keys, values), strict=True):
            self._write(buffer, new.transpose(1, 2))
        if self.full:
            return keys, values
        together = self._together()
        read = (b[self.rows if together is None else together] for b in pair)
        return tuple(b[:, : self.width].transpose(1, 2) for b in read)

    def _together(self) -> slice | None:
        """The rows, if they are next to each other."""
        span = slice(self.rows[0], self.rows[0] + len(self.rows))
        return span if self.rows == list(range(span.start, span.stop)) else None

    def _write(self, buffer: Tensor, new: Tensor) -> None:
        together = self._together()
        if self.common is not None and together is not None:
            buffer[together, self.common] = new
        else:
            buffer[torch.tensor(self.rows, device=buffer.device)[:, None], self.columns] = new
