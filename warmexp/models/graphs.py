"""Forwards beside kept keys and values as CUDA graphs (`engine=graphs`): recorded once per shape, then queued by a
single call.

A forward that computes one block of a question has work for some milliseconds and some thousand operations, each of
which the host has to queue: at batch size 1 the device waits for the host. A graph needs fixed shapes and fixed
addresses. So rows and positions are filled up to few sizes, inputs are copied to where they were when the graph was
recorded, and all columns of the kept keys and values are read, under a mask. The head and the choice of what goes
through it stay outside: they are few operations of ever other shapes.

Whole rows and large batches have work enough to hide the queueing and take the ordinary way. On an H100 a block of 32
positions of LLaDA-8B's shape takes 10.8 ms instead of 19.1 (docs/engine.md); where there is no GPU the tests record and
replay torch's operations on a CPU (tests/models/recorded.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from warmexp.errors import UserError, out_of_memory
from warmexp.models.backbone import Backbone
from warmexp.models.keys_values import KeysValues, Window
from warmexp.models.tiles import Attending
from warmexp.models.transformer import Transformer
from warmexp.models.wanted import upload

# Positions of a forward that is recorded, at most. By arithmetic 512 are 15 to 20 ms of work for 8 B parameters on an
# H100, queued in 9.
POSITIONS = 512
# A row's positions are filled up to a multiple of this, the rows to a power of two.
STEP = 8
WARM_UP = 2


@dataclass
class GraphedBackbone(Backbone):
    """A backbone that replays forwards of few shapes. Numbers are those of Backbone but for the order in which
    attention sums."""

    recordings: WeakKeyDictionary[KeysValues, dict[tuple[int, int], Recording]] = field(
        default_factory=WeakKeyDictionary
    )
    _pool: Any = None  # the memory of all recordings: their results are read before the next one is replayed

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
        """As Backbone's.

        Raises:
            UserError: the forward cannot be recorded.
        """
        shape = recorded_shape(window)
        if window is None or shape is None or self.attention_block:  # a mask per query is made anew in each forward
            return super().__call__(ids, lengths, row, position, embeddings, window, attend)
        lengths, row, position = lengths.cpu(), row.cpu(), position.cpu()
        hidden = self._recording(window.store, shape)(
            self.embed(ids) if embeddings is None else embeddings, lengths, window
        )
        wanted = row * shape[1] + position - self.shift - window.starts[row]
        return self.transformer.head(hidden.flatten(0, 1)[upload(wanted.numpy(), hidden.device)])

    def _recording(self, store: KeysValues, shape: tuple[int, int]) -> Recording:
        known = self.recordings.setdefault(store, {})
        if any(recording.keys is not store.keys for recording in known.values()):
            known.clear()  # the buffers have grown, so they are somewhere else
        if shape not in known:
            if self._pool is None:
                self._pool = torch.cuda.graph_pool_handle()
            known[shape] = Recording(self.transformer, store, shape, self._pool)
        return known[shape]


def recorded_shape(window: Window | None) -> tuple[int, int] | None:
    """(rows, positions) of the recording that serves a forward, None where none does: without kept keys and values,
    with rows that are not the first ones of the buffers, with sets of positions, or with more than are worth it."""
    if window is None or window.full or window.chosen is not None or window.rows != list(range(len(window.rows))):
        return None
    rows, width = window.columns.shape
    shape = min(1 << (rows - 1).bit_length(), window.store.keys.shape[1]), -(-width // STEP) * STEP
    return shape if shape[0] * shape[1] <= POSITIONS else None


class Recording:
    """One shape's graph and the places of its inputs: x [B, Q, d], columns [B, Q] of the kept keys and values, mask [B,
    1, 1, keys].

    What fills it up is computed too: its keys and values go to the buffers' last column, which nobody reads.
    """

    def __init__(self, transformer: Transformer, store: KeysValues, shape: tuple[int, int], pool: Any):
        self.keys, self.values = store.keys, store.values
        self.reach, device = store.keys.shape[2], store.keys.device
        self.x = torch.zeros(*shape, transformer.config.d_model, dtype=store.keys.dtype, device=device)
        self.columns = torch.full(shape, self.reach - 1, device=device)
        self.rows = torch.arange(shape[0], device=device)[:, None]
        self.mask = torch.ones(shape[0], 1, 1, self.reach, dtype=torch.bool, device=device)
        self.angles = transformer.angles(self.reach, self.x)  # held: the transformer makes others when it needs more
        keep = [partial(self._keep, *pair) for pair in zip(self.keys, self.values, strict=True)]
        forward = partial(transformer, self.x, self.mask, self.columns, keep, reach=self.reach)
        try:
            self.hidden, self.replay = recorded(forward, device, pool)
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"engine=graphs: a forward cannot be recorded as a CUDA graph ({reason}): choose engine=fast."
            ) from error

    def __call__(self, x: Tensor, lengths: Tensor, window: Window) -> Tensor:
        """Hidden states [B, Q, d] of a forward that computes x, overwritten by the next one. Otherwise as
        Backbone's."""
        rows, width = window.columns.shape
        valid = np.arange(self.reach) < lengths.numpy()[:, None]
        valid = valid[np.minimum(np.arange(len(self.mask)), rows - 1)]  # a row that sees nothing would be NaN
        self.x[:rows, :width] = x
        self.columns.fill_(self.reach - 1)
        self.columns[:rows, :width] = window.columns
        self.mask.copy_(upload(valid[:, None, None], self.mask.device))
        self.replay()
        return self.hidden

    def _keep(self, old_keys: Tensor, old_values: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        place, count = (self.rows, self.columns), len(self.rows)
        old_keys[place], old_values[place] = keys.transpose(1, 2), values.transpose(1, 2)
        return old_keys[:count].transpose(1, 2), old_values[:count].transpose(1, 2)


def recorded(forward: Callable[[], Tensor], device: torch.device, pool: Any) -> tuple[Tensor, Callable[[], None]]:
    """The tensor that `forward` computes into, and what computes it again from what its inputs hold then."""
    with torch.cuda.device(device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):  # what is loaded or reserved at a first call cannot be recorded
                forward()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            result = forward()
    return result, graph.replay


def check_graphs(device: str) -> None:
    """Raises UserError, one sentence, where there are no CUDA graphs."""
    if not device.startswith("cuda"):
        raise UserError(
            f"engine=graphs records CUDA graphs, which device={device} has not: choose engine=fast, or device=cuda"
            " where there is a GPU."
        )
