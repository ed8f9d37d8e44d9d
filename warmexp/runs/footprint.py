"""How many questions a device holds at a time, predicted from sizes before the first forward.

A prediction that is too low costs a halved batch (batches.py), one that is too high a smaller batch than would do.
Records are the same.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass

import torch

from warmexp.decode.meter import POSITIONS
from warmexp.decode.strategy import Strategies
from warmexp.models.quantization import made_bytes
from warmexp.models.transformer import ModelConfig
from warmexp.models.weights import GIB, free_memory

# Of the memory that is free, what is planned with: an allocator leaves gaps.
SHARE = 0.9
_FLOAT32, _FLOAT64 = 4, 8


@dataclass(frozen=True)
class Footprint:
    """What decoding needs beside the weights. tokens: of the longest row, canvas included."""

    config: ModelConfig
    strategies: Strategies
    tokens: int
    dtype: torch.dtype
    device: torch.device
    quantization: str = "none"

    def bytes(self, questions: int) -> int:
        """At most, with so many questions at a time."""
        return sum(self.parts(questions).values())

    def parts(self, questions: int) -> dict[str, int]:
        """The same, by what it is for."""
        canvases = questions * self.strategies.draft.most
        positions = max(self.tokens, min(canvases * self.tokens, POSITIONS.get(self.device.type, POSITIONS["cuda"])))
        return {
            "logits": canvases * self._logits(),
            "keys and values": questions * self._keys_values(),
            "a guide": self.strategies.guide.needs(self.config, self.dtype, questions * self.tokens),
            "what methods remember": canvases * self._remembered(),
            "activations": positions * self._activations(),
            "a dequantized layer": made_bytes(self.quantization, self.config, self.dtype, self._together),
        }

    @property
    def _together(self) -> bool:
        return self.device.type == "cuda" and self.dtype == torch.bfloat16

    def _logits(self) -> int:
        """Of a question's window, or canvas where somebody reads all of it: as the head gives them, in float64, and
        what policies that read logits make of those."""
        whole = self.strategies.watch.looks or self.strategies.draft.reads_canvas
        copies = 5 if self.strategies.reads_logits or whole else 2
        length, schedule = self.strategies.length, self.strategies.schedule
        read = length.canvas_length if whole else schedule.width(length)
        return read * self.config.embedding_size * (self.dtype.itemsize + copies * _FLOAT64)

    def _remembered(self) -> int:
        """Of a question, columns with an entry per position and token."""
        columns = [column for column in self.strategies.columns.values() if column.vocabulary]
        each = self.strategies.length.canvas_length * self.config.embedding_size
        return sum(each * getattr(torch, column.dtype).itemsize for column in columns)

    def _keys_values(self) -> int:
        """Of a question, where they are kept: of every layer, and of the one that is computed once more, repeated for
        every head."""
        if not self.strategies.cache.keeps:
            return 0
        heads = self.config.n_layers * self.config.n_kv_heads + self.config.n_heads
        return 2 * heads * self.config.head_dim * (self.tokens + 1) * self.dtype.itemsize

    def _activations(self) -> int:
        """Of a position in a layer: eight of its width (input, norm, queries, keys, values, attention, sums), three
        more in at least float32 for the rotation, four of the feed-forward's; two in 32 bits of integer products."""
        wide = 3 * max(self.dtype.itemsize, _FLOAT32) * self.config.d_model
        whole = 2 * _FLOAT32 * self.config.mlp_hidden_size if self.quantization == "int8_dynamic" else 0
        return self.dtype.itemsize * (8 * self.config.d_model + 4 * self.config.mlp_hidden_size) + wide + whole


def fitting(footprint: Footprint, batch_size: int, say: Callable[[str], None]) -> int:
    """The batch size, or where that many questions would not fit the largest number that does, at least 1.

    say: told of a smaller one, once.
    """
    free = free_memory(footprint.device)
    size = batch_size if free is None else largest(footprint, batch_size, free)
    if size == batch_size:
        return batch_size
    say(
        f"batch_size={batch_size} would need about {footprint.bytes(batch_size) / GIB:.1f} GiB beside the weights and"
        f" device={footprint.device} has {free / GIB:.1f} GiB free: decoding {size} at a time."
    )
    return size


def largest(footprint: Footprint, batch_size: int, free: int) -> int:
    """The largest number of questions up to batch_size that fits into `free` bytes, at least 1."""
    if footprint.bytes(batch_size) <= SHARE * free:
        return batch_size
    return max(1, bisect.bisect_right(range(1, batch_size), SHARE * free, key=footprint.bytes))
