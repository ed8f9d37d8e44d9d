"""How far, from left to right, a guide lets a proposal pass."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from warmexp.decode.view import View
from warmexp.models.wanted import upload


def passed(view: View, fits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of the masked positions of each window, from left to right: those before the first that does not fit, this one,
    and the first of all.

    Args:
        fits: [R] bool.
    Returns:
        three times [R] bool.
    """
    (row, column), device = view.at, fits.device
    masked = view.on_device(view.masked, device)
    place = upload(row * view.masked.shape[1] + column, device)
    stops = torch.zeros(view.masked.size, dtype=torch.long, device=device)
    stops[place] = (masked & ~fits).long()
    before = (stops.view(view.masked.shape).cumsum(1).flatten() - stops)[place] == 0
    rank = np.cumsum(view.masked, axis=1)
    first = view.on_device(view.masked & (rank == 1), device)
    return before & fits & masked, before & ~fits & masked, first
