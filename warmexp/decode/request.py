"""From spans to a forward: the tokens to compute, as one rectangle, and the hidden states that are wanted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from warmexp.backbone.keys_values import KeysValues
from warmexp.decode.meter import Forward
from warmexp.decode.reading import Block
from warmexp.decode.rows import Row, Span
from warmexp.decode.state import Canvas


def sequences(canvas: Canvas) -> Tensor:
    """[B, P + L] long: each row's prompt and canvas, from column 0."""
    length = canvas.ids.shape[1]
    ids = torch.nn.functional.pad(canvas.prompt, (0, length))
    return ids.scatter_(1, _prompts(canvas)[:, None] + torch.arange(length, device=ids.device), canvas.ids)


def full_forward(canvas: Canvas) -> Forward:
    """Everything computed, the whole canvas wanted."""
    prompts, length = _prompts(canvas).cpu(), canvas.ids.shape[1]
    row = torch.arange(len(prompts)).repeat_interleave(length)
    position = prompts[row] + torch.arange(length).repeat(len(prompts))
    return Forward(sequences(canvas), prompts + length, prompts + length, row, position)


def forward_of(
    canvas: Canvas, block: Block, rows: Sequence[Row], spans: Sequence[Span], kept: KeysValues | None, slots: list[int]
) -> Forward:
    """The forward that computes `spans` of the canvas's rows and reads the block. slots: where `kept` has these rows."""
    starts = torch.tensor([span.start for span in spans])
    counts = torch.tensor([span.end - span.start for span in spans])
    lengths = torch.tensor([row.length for row in rows])
    row, column = block.at
    position = torch.tensor([r.start for r in rows])[row] + column
    ids = sequences(canvas)
    if bool((counts == lengths).all()):
        kind = "full"
    else:
        kind = "block" if all(span.end == r.end for span, r in zip(spans, rows, strict=True)) else "window"
        columns = starts[:, None] + torch.arange(int(counts.max()))
        ids = ids.gather(1, columns.clamp(max=ids.shape[1] - 1).to(ids.device))
    window = kept.window(slots, starts, counts, lengths) if kept else None
    return Forward(ids[:, : int(counts.max())], lengths, counts, row, position, kind=kind, window=window)


def _prompts(canvas: Canvas) -> Tensor:
    """[B] long, prompt lengths."""
    return torch.tensor([len(q.prompt) for q in canvas.questions], device=canvas.ids.device)
