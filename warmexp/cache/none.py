"""No cache: every forward computes every position of prompt and canvas."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from warmexp.decode.meter import Forward
from warmexp.decode.state import Canvas


@dataclass
class NoCache:
    """The exact forward. Rows are prompt then canvas, padded on the right to the longest row of the batch and no further."""

    def plan(self, canvas: Canvas, positions: Tensor, needed: Tensor) -> Forward:
        device = canvas.ids.device
        length = canvas.ids.shape[1]
        prompts = [len(q.prompt) for q in canvas.questions]
        # Built on the host from Python ids: a few kilobytes, and the only place where prompts and canvas meet.
        width = max(prompts)
        ids = torch.tensor([list(q.prompt) + [0] * (width - len(q.prompt)) for q in canvas.questions], dtype=torch.long, device=device)
        ids = torch.cat((ids, torch.zeros_like(canvas.ids)), dim=1)
        start = torch.tensor(prompts, device=device)
        columns = start[:, None] + torch.arange(length, device=device)
        ids.scatter_(1, columns, canvas.ids)
        row, column = needed.nonzero(as_tuple=True)
        return Forward(ids=ids, lengths=start + length, row=row, position=start[row] + positions[row, column])
