"""The probability margin: a position is ready where its best token leads the second best (arXiv 2502.06768)."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from warmexp.decode.reading import Reading, Word, top
from warmexp.decode.strategy import Unmask
from warmexp.decode.view import View
from warmexp.methods.unmask.topk import TopK


class ByMargin(Unmask, ABC):
    """Rules that look at p₁ - p₂, the probabilities of a position's two best tokens, untempered."""

    reads_logits = True

    def measure(self, view: View, word: Word) -> Mapping[str, Tensor]:
        probability, _ = top(word.logits, 2)
        return {"margin": probability[:, 0] - probability[:, 1]}

    def margins(self, view: View, reading: Reading) -> np.ndarray:
        """[n, W] float64, -1 where nothing may be committed."""
        return np.where(view.masked, reading.measured["margin"], -1.0)


@dataclass
class TopKMargin(ByMargin, TopK):
    """unmask=topk by the margin: the ⌈m / (s - k)⌉ positions with the largest p₁ - p₂ of the block's m masked ones.

    Two likely tokens at one position make it a bad choice however likely the best is; where one token is sure, margin
    and confidence order alike. (Dream's `topk_margin` takes the margin of the tempered distribution, and has a schedule
    of its own: unmask=dream.)

    steps_per_block, temperature: as in unmask=topk.
    """

    def score(self, view: View, reading: Reading) -> np.ndarray:
        return self.margins(view, reading)
