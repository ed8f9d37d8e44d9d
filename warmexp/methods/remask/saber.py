"""Saber's backtracking: what the model is losing confidence in goes back to the mask (arXiv 2510.18165)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from warmexp.decode.columns import Column
from warmexp.decode.edit import Edit
from warmexp.decode.reading import Reading, Word, ranks
from warmexp.decode.strategy import Remask
from warmexp.decode.view import View
from warmexp.errors import check_choice, check_range
from warmexp.methods.remask.bernoulli import SCOPES


@dataclass
class Saber(Remask):
    """Revoke the m visible tokens of smallest Δ_i = max_v p_t(v) - max_v p_{t-1}(v), m = max(⌊n/2⌋, ⌈r/8⌉), r = max(n,
    what this forward commits); none where it commits the last masks.

    Its forwards commit by unmask=saber, whose n is this one's; another rule may commit in its place. As released, Δ is
    about the most probable token of a position, not the one that stands there, and p before its first forward is 0.
    Three differences from the released code; without them tokens and forwards are the same. There, tokens that this
    forward commits can be among the m (their Δ is that of the mask); here never. There, m is capped at r - 1, which can
    be more than is committed where fewer than n masks are left; here at one less than is committed, so that every
    forward leaves one mask less. And there the n best of fewer than n masks are filled up with visible tokens, which
    are overwritten by what is most probable now.

    least: n ≥ 1; 2 as published. scope: as in remask=linear; as published all but the prompt's.
    """

    least: int = 2
    scope: str = "all"
    reads_logits = True
    symbols = {"least": "n"}
    columns = {"saber_before": Column(fill=0.0)}  # the largest probability that any token had one forward earlier

    def __post_init__(self) -> None:
        check_range("remask.least", self.least, 1, 2**20, "a number of tokens")
        check_choice("remask.scope", self.scope, SCOPES)

    def measure(self, view: View, word: Word) -> Mapping[str, Tensor]:
        return {"saber_best": word.logits.softmax(-1).amax(-1)}

    def select(self, view: View, reading: Reading, commit: np.ndarray) -> np.ndarray:
        committed = commit.sum(1)
        asked = np.maximum(self.least, committed)
        count = np.minimum(np.maximum(self.least // 2, -(-asked // 8)), committed - 1)
        count = np.where((view.masked & ~commit).any(1), count, 0)
        change = np.where(view.revocable, reading.measured["saber_best"] - view.recall("saber_before"), np.inf)
        return view.revocable & (ranks(change) < count[:, None])

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        read = view.masked | view.revocable
        return {"saber_before": np.where(read, reading.measured["saber_best"], 0.0)}
