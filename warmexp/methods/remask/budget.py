"""Revision with guaranteed progress: the worst tokens go back to the mask, always fewer of them than the same forward
has committed.

WINO (arXiv 2507.18578) and Saber (2510.18165) bound what a forward may revoke by what it commits, and T2M (2604.18738)
how often a position may change; a random rate (the paper's Eq. 12) bounds neither, which is why it costs forwards and
has to be stopped by a cap of the loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from warmexp.decode.columns import Column
from warmexp.decode.edit import Edit
from warmexp.decode.reading import Reading, ranks
from warmexp.decode.strategy import Remask, Setup
from warmexp.decode.view import View
from warmexp.errors import UserError, check_choice, check_range
from warmexp.methods.remask.bernoulli import SCOPES

SCORES = ("visible", "shadow")


@dataclass
class BudgetRemask(Remask):
    """Revoke the max(0, n - 1) candidates of lowest q_i among those with q_i < θ, n being how many tokens this forward
    commits.

    q_i is the probability of the token that sits at i. A block that holds no mask when it is entered is looked at once,
    and then every candidate below θ goes. So each other forward leaves one mask less, a block of W positions takes at
    most W + 1 forwards whatever the scores are, and a canvas of L in blocks of W at most L + L/W. Nothing is random; of
    equal scores the lowest index goes first.

    threshold: θ in (0, 1]. most: how often a position may be revoked, ≥ 1; after that its token stays. scope: as in
    remask=linear.
    score: `visible`, the softmax at i (Eq. 10), which is free but copies what it sees where a backbone never learned to
    doubt visible tokens; `shadow`, that of a masked query which sees all but i, in the same forward (models/shadow.py),
    which is as many positions longer as the block has candidates (twice as many where logits are shifted).
    """

    threshold: float = 0.5
    most: int = 2
    scope: str = "injected"
    score: str = "visible"
    symbols = {"threshold": "θ"}
    columns = {"undone": Column(dtype="int64")}  # how often a token was revoked here

    def __post_init__(self) -> None:
        check_range(
            "remask.threshold", self.threshold, 0, 1, "the probability below which a token is doubted", open_low=True
        )
        check_range("remask.most", self.most, 1, 2**20, "how often a position may be revoked")
        check_choice("remask.scope", self.scope, SCOPES)
        check_choice("remask.score", self.score, SCORES)

    @property
    def shadows(self) -> bool:  # type: ignore[override]  # depends on a field
        return self.score == "shadow"

    def check(self, setup: Setup) -> None:
        if self.shadows and setup.parts["cache"].keeps:
            raise UserError(
                f"remask.score=shadow reads tokens from masks beside the row, for which {setup.said('cache')} keeps"
                " no place: choose cache=none, or remask.score=visible."
            )

    def select(self, view: View, reading: Reading, commit: np.ndarray) -> np.ndarray:
        score = reading.visible_probability
        doubted = view.revocable & (score < self.threshold) & (view.recall("undone") < self.most)
        budget = np.where(view.masked.any(1), commit.sum(1) - 1, view.masked.shape[1])
        return doubted & (ranks(np.where(doubted, score, np.inf)) < budget[:, None])

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        return {} if edit.revoke is None else {"undone": view.recall("undone") + edit.revoke}
