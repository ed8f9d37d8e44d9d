"""CreditDecoding: what has been proposed before gets credit for it (arXiv 2510.06133)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warmexp.decode.columns import Column
from warmexp.decode.reading import Word
from warmexp.decode.strategy import Evidence, Setup
from warmexp.decode.view import View
from warmexp.errors import UserError, check_range


@dataclass
class Credit(Evidence):
    """C ← β·C; C_i[x0_i] += (max p_i)^γ at every masked i; z'_i = z_i + α·ln(1 + C_i); token and confidence are those
    of z'.

    Credit includes the present forward, so even the first one is raised: with the published constants its odds are
    multiplied by 1.6, in the long run by 3.4. A credited τ = 0.9 therefore lies between plain thresholds of 0.85 and
    0.73 with a test of persistence, and a fair baseline has τ in [0.72, 0.85] on its front. The released code keys
    credit by block bounds and clears it only when a canvas ends without masks, so a question can inherit another's;
    here it belongs to its question's positions.

    alpha: α ≥ 0, 0.7; 0 changes nothing. beta: β in [0, 1], 0.8. gamma: γ ≥ 0, 0.2.
    """

    alpha: float = 0.7
    beta: float = 0.8
    gamma: float = 0.2
    symbols = {"alpha": "α", "beta": "β", "gamma": "γ"}
    columns = {"credit": Column(dtype="float32", vocabulary=True)}

    def __post_init__(self) -> None:
        check_range("evidence.credit.alpha", self.alpha, 0, 100, "the weight of credit in the logits")
        check_range(
            "evidence.credit.beta", self.beta, 0, 1, "the share of credit that is kept from one forward to the next"
        )
        check_range("evidence.credit.gamma", self.gamma, 0, 100, "the power of a probability")

    def check(self, setup: Setup) -> None:
        super().check(setup)
        if setup.parts["unmask"].temperature > 0:
            raise UserError(
                "evidence=[credit] raises the most probable token and would undo a draw: set unmask.temperature=0."
            )

    def credited(self, view: View, word: Word) -> Tensor:
        """[R, V] float64, the credit after this forward."""
        p = word.logits.softmax(-1).max(-1)
        earned = torch.zeros_like(word.logits).scatter_(1, p.indices[:, None], p.values[:, None] ** self.gamma)
        return self.beta * view.recall("credit").double() + earned * view.on_device(view.masked, earned.device)[:, None]

    def weigh(self, view: View, word: Word) -> Word:
        logits = word.logits + self.alpha * self.credited(view, word).log1p()
        masked = view.on_device(view.masked, logits.device)
        best = logits.log_softmax(-1).max(-1)
        return replace(
            word,
            token=torch.where(masked, best.indices, word.token),
            confidence=torch.where(masked, best.values.exp(), word.confidence),
        )

    def measure(self, view: View, word: Word) -> Mapping[str, Tensor]:
        return {"credit": self.credited(view, word)}
