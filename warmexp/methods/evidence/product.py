"""A product of two experts: backbone and author, position by position.

G. Hinton, "Training products of experts by minimizing contrastive divergence" (2002). Adaptive parallel decoding (arXiv
2506.00413) and PoE-Bridge (2606.08048) multiply a diffusion model with an autoregressive one over a common vocabulary;
here of the author's distribution only what a proposal says is known, the probability of its own token.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from warmexp.decode.reading import Word
from warmexp.decode.strategy import Evidence
from warmexp.decode.view import View
from warmexp.errors import check_choice, check_range
from warmexp.methods.evidence.bonus import WINS, supported


@dataclass
class Product(Evidence):
    """p ∝ p_θ^w · a^(1-w), where a gives the proposal's token x̂_i its trust t_i and each of V-1 others (not the mask)
    (1-t_i)/(V-1).

    That is w·z_i with a bonus of (1-w)·(logit t_i + ln(V-1)) at x̂_i. Where x̂_i wins, it is the position's token with
    the product's confidence; everywhere else token and confidence are the backbone's own, since w < 1 alone would
    flatten its distribution and a prior that is wrong would cost forwards.

    w: the backbone's share in (0, 1]; 1 changes nothing. cap: the most that t_i is taken for, in [1/2, 1). wins: as in
    evidence=[bonus]; with a large vocabulary the author outvotes the backbone soon under `most`: at w = 0.7 and V =
    126,464 an even author (t = 1/2) is worth a bonus of 3.5.
    """

    w: float = 0.7
    cap: float = 0.95
    wins: str = "agreed"
    symbols = {"w": "w"}
    reads_prior = True

    def __post_init__(self) -> None:
        check_range("evidence.product.w", self.w, 0, 1, "the backbone's share of the product", open_low=True)
        check_range("evidence.product.cap", self.cap, 0.5, 1 - 1e-4, "the most that an author's word can be worth")
        check_choice("evidence.product.wins", self.wins, WINS)

    def weigh(self, view: View, word: Word) -> Word:
        others = word.logits.shape[1] - 2  # neither x̂ nor the mask
        trust = view.on_device(view.trust, word.logits.device).nan_to_num(0.0)
        odds = trust.clamp(1e-4, self.cap).logit() + math.log(max(1, others))
        return supported(view, word, (1 - self.w) * odds.clamp(min=0), self.wins == "most", self.w)
