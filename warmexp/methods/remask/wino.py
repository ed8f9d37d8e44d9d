"""WINO's verifier: visible tokens that a masked query would not have written go back to the mask (arXiv 2507.18578)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from warmexp.decode.columns import Column
from warmexp.decode.edit import Edit
from warmexp.decode.reading import Reading, ranks
from warmexp.decode.strategy import Remask
from warmexp.decode.view import View
from warmexp.errors import check_choice, check_range
from warmexp.methods.remask.bernoulli import SCOPES


@dataclass
class Wino(Remask):
    """Where a forward commits at least two tokens, revoke the visible ones of the window with q_i < τ₂, the worst first
    and fewer than the forward before committed (fewer than `first` in a window's first forward).

    q_i is the probability of the token at a mask that stands beside the row, at the same position, and sees the row but
    for that token, and the masks of all other positions of the window (models/shadow.py): a forward with a revocable
    token is as many positions longer as a window has (twice as many where logits are shifted, for which there is no
    published form). Tokens that the window began with are verified like all others. The published code enters no full
    window; here a full one is read once, and loses what is below τ₂, fewer than `first`.
    remask=budget is a relative: there no shadow sees another, and the bound is what the same forward commits.

    threshold: τ₂ in [0, 1], 0.9 as published; 0 revokes nothing. first: ≥ 1, 30. scope: as in remask=linear; as
    published all.
    """

    threshold: float = 0.9
    first: int = 30
    scope: str = "all"
    shadows = True
    together = True
    symbols = {"threshold": "τ₂"}
    columns = {"wino_committed": Column("row", "int64")}  # by the forward before

    def __post_init__(self) -> None:
        check_range("remask.threshold", self.threshold, 0, 1, "the probability below which a token is doubted")
        check_range("remask.first", self.first, 1, 2**20, "a number of tokens")
        check_choice("remask.scope", self.scope, SCOPES)

    def select(self, view: View, reading: Reading, commit: np.ndarray) -> np.ndarray:
        doubted = view.revocable & (reading.visible_probability < self.threshold)
        before = np.where(view.visits == 0, self.first, view.recall("wino_committed"))
        verified = (commit.sum(1) > 1) | ~view.masked.any(1)
        count = np.where(verified, before - 1, 0)
        return doubted & (ranks(np.where(doubted, reading.visible_probability, np.inf)) < count[:, None])

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        return {"wino_committed": edit.commit.sum(1)}
