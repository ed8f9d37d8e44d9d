"""Classifier-free guidance: a second row without the prompt (SMDM, arXiv 2410.18514; LLaDA, 2502.09992)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from warmexp.decode.lanes import Lanes
from warmexp.decode.strategy import Draft
from warmexp.decode.view import View
from warmexp.errors import check_range
from warmexp.models.wanted import upload


@dataclass
class Guidance(Draft):
    """Logits are ℓ_u + (w + 1)·(ℓ_c - ℓ_u): ℓ_c of the canvas behind its prompt, ℓ_u of the same canvas behind as many
    masks. Two rows in every forward.

    Confidences are those of the guided logits, which w makes larger: a threshold then commits more. weight: w ≥ 0, 0 is
    no guidance; SMDM samples with 2, LLaDA's `cfg_scale` is 0 unless it is given.
    """

    weight: float = 2.0
    several = True
    combines = True
    most = 2
    symbols = {"weight": "w"}

    def __post_init__(self) -> None:
        check_range("draft.weight", self.weight, 0, 100, "the weight of guidance")

    def lanes(self, view: View) -> Lanes | None:
        shape = (len(view.rows), view.canvas.length)
        nothing = (np.zeros(shape, dtype=bool), np.zeros(shape, dtype=np.int64), np.zeros(shape))
        return Lanes(np.arange(shape[0]), *nothing, blind=True)

    def combine(self, view: View, logits: Tensor) -> Tensor:
        # Both of a question's candidates are read at the same positions, one candidate after the other.
        blind = view.candidates[view.at[0]] == 1
        seen, unseen = (upload(np.flatnonzero(which), logits.device) for which in (~blind, blind))
        conditional, free = logits[seen], logits[unseen]
        guided = torch.where(conditional.isfinite(), free + (self.weight + 1) * (conditional - free), conditional)
        made = logits.clone()
        made[seen] = guided
        return made
