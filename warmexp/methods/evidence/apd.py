"""Adaptive parallel decoding: from left to right, as far as a product with an autoregressive model draws the same
tokens (arXiv 2506.00413)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from warmexp.decode.guided import Asking
from warmexp.decode.reading import Word
from warmexp.decode.sampling import sampled
from warmexp.decode.strategy import Consulting
from warmexp.decode.view import View
from warmexp.errors import check_range
from warmexp.methods.evidence.passing import passed
from warmexp.models.wanted import upload


@dataclass
class AdaptiveParallel(Consulting):
    """The backbone draws x_i = argmax (z_i / T + g_i) at every masked position of the window with Gumbel noise g_i. One
    forward of the guide reads all of them; the target is y_i = argmax ((R·z_i + (1-R)·log q_i) / T + g_i) with the same
    noise, and what stands before the first x_i ≠ y_i passes, where the first masked position is not asked: it always
    passes. T is unmask.temperature; at 0 there is no noise.

    r: the backbone's share R in [0, 1] of the product; 1 lets everything pass. lookahead: M ≥ 1, how many masked
    positions are judged. released: the target without noise at any temperature, as in the released code, where a draw
    passes if it is the product's most probable token.
    The published canvas ends M positions ahead, so its backbone does not see behind them; here it does.
    """

    r: float = 0.7
    lookahead: int = 100
    released: bool = False
    symbols = {"r": "R"}
    accepts = True

    def __post_init__(self) -> None:
        check_range("evidence.apd.r", self.r, 0, 1, "the backbone's share of the product")
        check_range("evidence.apd.lookahead", self.lookahead, 1, 2**20, "how many masked positions are judged")

    def consult(self, view: View, word: Word, guide: Asking) -> Word:
        z, said = word.drawn_from(word.logits), guide(word.token)
        if self.r == 1:
            product = z  # 0 times the minus infinity of what a guide rules out is no number
        else:
            product = said if self.r == 0 else self.r * z + (1 - self.r) * said
        if self.released or word.temperature == 0:
            target = product.argmax(-1)
        else:
            target = sampled(product, word.temperature, upload(view.bits("gumbel"), z.device))
        rank = np.cumsum(view.masked, axis=1)
        first, near = (view.on_device(where, z.device) for where in (rank == 1, rank <= self.lookahead))
        return replace(word, accepted=passed(view, ((target == word.token) | first) & near)[0])
