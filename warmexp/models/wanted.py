"""The hidden states somebody reads. The last layer needs queries and a feed-forward for these alone: nothing attends to
its output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# cos and sin of the rotary angles, broadcastable to [B, H, T, D]; the first half of D has the sine's sign turned, so
# that x·cos + (x with its halves exchanged)·sin is the rotation.
Rotary = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Wanted:
    """R hidden states, at most Q in a row.

    columns: [B, Q] long, which of T columns hold them; rows with fewer are filled up with anything. flat: [R] long,
    indices into the flattened [B·Q] columns, in the order wanted, and some more if R has to be a multiple of a number.
    whole: that is all of them in order.
    """

    columns: Tensor
    flat: Tensor
    whole: bool

    @classmethod
    def of(cls, row: Tensor, column: Tensor, rows: int, device: torch.device, multiple: int = 1) -> Wanted:
        """From (row, column) pairs in any order, on the host, to the device. Nobody waits for a GPU. B·Q and R become
        multiples of `multiple`, by repeating anything at the end."""
        of, among = row.numpy(), column.numpy()
        counts = np.bincount(of, minlength=rows)
        place = np.empty_like(of)
        order = of.argsort(kind="stable")
        place[order] = np.arange(len(of)) - (counts.cumsum() - counts)[of[order]]
        step = multiple // math.gcd(multiple, rows)
        if multiple > 1:
            step = math.lcm(step, 4)  # torch's attention sums for 1 to 3 queries in another order than for 4 or more
        columns = np.zeros((rows, -(-counts.max() // step) * step), dtype=np.int64)
        columns[of, place] = among
        flat = np.zeros(-(-len(of) // multiple) * multiple, dtype=np.int64)
        flat[: len(of)] = of * columns.shape[1] + place
        whole = columns.size == len(flat) and bool((flat[: len(of)] == np.arange(len(of))).all())
        return cls(upload(columns, device), upload(flat, device), whole)

    def columns_of(self, x: Tensor) -> Tensor:
        """[B, T, d] -> [B, Q, d]."""
        return x.gather(1, self.columns[..., None].expand(-1, -1, x.shape[-1]))

    def rotary_of(self, rotary: Rotary) -> Rotary:
        """[T, D] or [B, 1, T, D] each -> [B, 1, Q, D]."""
        cos, sin = (t[self.columns] if t.dim() == 2 else self.columns_of(t[:, 0]) for t in rotary)
        return cos[:, None], sin[:, None]

    def mask_of(self, mask: Tensor | None) -> Tensor | None:
        """[B, 1, T, keys] bool -> [B, 1, Q, keys]; one that is the same for all queries stays."""
        if mask is None or mask.shape[2] == 1:
            return mask
        return mask[:, 0].gather(1, self.columns[..., None].expand(-1, -1, mask.shape[-1]))[:, None]

    def states_of(self, x: Tensor) -> Tensor:
        """[B, Q, d] -> [R, d]."""
        x = x.flatten(0, 1)
        return x if self.whole else x[self.flat]


def upload(array: np.ndarray, device: torch.device) -> Tensor:
    """To the device without waiting for what it is busy with; on a CPU the array itself.

    By way of pinned memory: a copy from any other may wait, and torch keeps pinned memory until the copy is done.
    """
    host = torch.from_numpy(array)
    return host if device.type == "cpu" else host.pin_memory().to(device, non_blocking=True)


def download(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors on the host, after a single copy and so a single wait; on a CPU the tensors themselves."""
    if all(t.is_cpu for t in tensors):
        return list(tensors)
    # Widest entries first: every part then begins at a multiple of its entries' width, as views of other types demand.
    order = sorted(range(len(tensors)), key=lambda i: -tensors[i].element_size())
    parts = [_bytes(tensors[i]) for i in order]
    read = torch.cat(parts).cpu().split([len(part) for part in parts])
    found = {i: part.view(tensors[i].dtype).view(tensors[i].shape) for i, part in zip(order, read, strict=True)}
    return [found[i] for i in range(len(tensors))]


def _bytes(tensor: Tensor) -> Tensor:
    """[numbers of bytes] uint8, in order."""
    flat = tensor.contiguous().view(-1)
    # A single number out of a column counts as contiguous whatever its stride, which a view of another type does not
    # take.
    return (flat if flat.stride(0) == 1 else flat.clone(memory_format=torch.contiguous_format)).view(torch.uint8)
