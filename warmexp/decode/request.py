"""From spans to a forward: the tokens to compute, as one rectangle, and the hidden states that are wanted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from warmexp.decode.meter import Forward
from warmexp.decode.reading import Block
from warmexp.decode.rows import Row, Span
from warmexp.decode.state import Canvas
from warmexp.models.keys_values import KeysValues
from warmexp.models.wanted import upload


def sequences(canvas: Canvas) -> Tensor:
    """[B, P + L] long: each row's prompt and canvas, from column 0."""
    return canvas.sequence.scatter(1, canvas.place, canvas.ids)


def full_forward(canvas: Canvas) -> Forward:
    """Everything computed, the whole canvas wanted."""
    prompts, length = torch.tensor([len(q.prompt) for q in canvas.questions]), canvas.ids.shape[1]
    row = torch.arange(len(prompts)).repeat_interleave(length)
    position = prompts[row] + torch.arange(length).repeat(len(prompts))
    return Forward(sequences(canvas), prompts + length, prompts + length, row, position)


def forward_of(
    canvas: Canvas, block: Block, rows: Sequence[Row], spans: Sequence[Span], kept: KeysValues | None, slots: list[int]
) -> Forward:
    """The forward that computes `spans` of the canvas's rows and reads the block. slots: where `kept` has these rows."""
    starts, counts, lengths, blocks = np.array(
        [(span.start, span.end - span.start, r.length, r.start) for span, r in zip(spans, rows, strict=True)]
    ).T.copy()
    row, column = block.host_at
    ids, most = sequences(canvas), int(counts.max())
    if (counts == lengths).all():
        kind = "full"
    else:
        kind = "block" if all(span.end == r.end for span, r in zip(spans, rows, strict=True)) else "window"
        columns = np.minimum(starts[:, None] + np.arange(most), ids.shape[1] - 1)
        ids = ids.gather(1, upload(columns, ids.device))
    starts, counts, lengths, row, position = map(torch.from_numpy, (starts, counts, lengths, row, blocks[row] + column))
    window = kept.window(slots, starts, counts, lengths) if kept else None
    return Forward(ids[:, :most], lengths, counts, row, position, kind=kind, window=window)
