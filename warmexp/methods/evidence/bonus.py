"""The prior as evidence in the logits: a bonus for the proposal's token.

CreditDecoding (arXiv 2510.06133) adds credit to the logits of tokens that were proposed before; here the credit is
another model's. A prior that never wins changes nothing and costs no forward; one that wins is committed, also where it
is wrong, and that is the risk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from warmexp.decode.reading import Word
from warmexp.decode.strategy import Evidence
from warmexp.decode.view import View
from warmexp.errors import check_choice, check_range

STRENGTHS = ("logit", "trust")
WINS = ("agreed", "most")


@dataclass
class Bonus(Evidence):
    """z_i[x̂_i] ← z_i[x̂_i] + β·s_i, with s_i = max(0, logit min(t_i, c)) or t_i.

    x̂_i is the proposal's token, t_i its author's trust. Where x̂_i wins, it is the position's token with the
    confidence of the changed logits, logit c'_i = logit c_i + β·s_i, which is at least its own; everywhere else token
    and confidence are the backbone's own, so the author's doubt takes nothing away. Needs an init that reads a proposal
    and leaves masks.

    beta: β ≥ 0. strength: `logit`, the odds of two independent witnesses, or `trust`. cap: c in [1/2, 1), so that no
    author can outvote the backbone by itself (`logit` only). wins: `agreed`: x̂_i wins where the backbone proposes it
    too, so no token is ever committed that the backbone would not have chosen; `most`: also where a bonus above 0 makes
    the logits largest at x̂_i.
    """

    beta: float = 1.0
    strength: str = "logit"
    cap: float = 0.95
    wins: str = "agreed"
    symbols = {"beta": "β"}
    reads_prior = True

    def __post_init__(self) -> None:
        check_range("evidence.bonus.beta", self.beta, 0, 100, "the weight of the author's word in the logits")
        check_choice("evidence.bonus.strength", self.strength, STRENGTHS)
        check_range("evidence.bonus.cap", self.cap, 0.5, 1 - 1e-4, "the most that an author's word can be worth")
        check_choice("evidence.bonus.wins", self.wins, WINS)

    def weigh(self, view: View, word: Word) -> Word:
        trust = view.on_device(view.trust, word.logits.device).nan_to_num(0.0)
        strength = trust if self.strength == "trust" else trust.clamp(0.5, self.cap).logit()
        return supported(view, word, self.beta * strength, self.wins == "most")


def supported(view: View, word: Word, bonus: Tensor, most: bool, weight: float = 1.0) -> Word:
    """The word of weight·z_i + bonus_i·1[v = x̂_i] where the prior's token wins, the given one elsewhere.

    Args:
        bonus: [R] float64 ≥ 0; ignored where there is no prior. most: whether the prior's token may replace the
        backbone's.
        weight: w > 0 of the backbone's logits.
    """
    logits, own, confidence = word.logits, word.token, word.confidence
    prior = view.on_device(view.prior, logits.device)
    eligible = view.on_device(view.masked & ~np.isnan(view.trust), logits.device)
    logit = logits.gather(1, prior[:, None])[:, 0]
    wins = own == prior
    if most:
        wins = wins | (weight * logit + bonus > weight * logits.amax(-1))
    total = torch.cat([(weight * piece).logsumexp(-1) for piece in logits.split(64)])
    # Of the changed logits: odds are what they were, times exp(bonus). Never less than without a prior.
    changed = torch.sigmoid((weight * logit - total).exp().logit() + bonus)
    wins &= eligible
    changed = torch.where(own == prior, changed.maximum(confidence), changed)
    return replace(word, token=torch.where(wins, prior, own), confidence=torch.where(wins, changed, confidence))
