"""Token-to-mask: a suspicious visible token goes back to the mask instead of being overwritten (arXiv 2604.18738)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from warmexp.decode.columns import Column
from warmexp.decode.edit import Edit
from warmexp.decode.reading import Reading, Word, ranks
from warmexp.decode.view import View
from warmexp.errors import check_choice, check_range
from warmexp.methods.remask.bernoulli import SCOPES
from warmexp.methods.remask.until_quiet import UntilQuiet

SCORES = {"low_prob": 0.5, "t2t": 0.9, "logit_diff": 0.3}  # and the released thresholds


@dataclass
class T2M(UntilQuiet):
    """Revoke visible x_i where it is suspect, at most `most` times each, and in one forward at most max(1, ⌊share·E⌋)
    of the E that may be revoked, the most suspect first.

    score: `low_prob`, p_t(x_i) < θ; `t2t`, another token is the most probable one and its p_t > θ; `logit_diff`, p_t of
    x_i is by more than θ below what it was one forward earlier (where x_i was committed in that forward, with which
    probability).
    A window is left after the first forward that began without a mask and revokes nothing; of such forwards there are
    at most `after`.

    threshold: θ; without one 0.5, 0.9 or 0.3, as the released code has them. most, share: 5 and 0.25 in the released
    code; the README beside it says low_prob at 0.1 and 3 times, the paper 0.5 and once (remask=t2m_readme, t2m_paper;
    neither bounds the share). after: 16 as released.
    The released logit_diff compares from a block's third forward on, and with another block's logits where one follows
    on another; here it compares from the second on, within a window. The released loop has no other end than `after`,
    which bounds only forwards that begin without a mask; here the loop also stops asking after four per position of a
    window (docs/add_a_method.md), which a model that goes on contradicting itself reaches.
    """

    score: str = "low_prob"
    threshold: float | None = None
    most: int = 5
    share: float = 0.25
    scope: str = "all"
    symbols = {"threshold": "θ"}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("remask.score", self.score, SCORES)
        if self.threshold is None:
            self.threshold = SCORES[self.score]
        check_range("remask.threshold", self.threshold, 0, 1, "a probability, or a difference of two")
        check_range("remask.most", self.most, 1, 2**20, "how often a position may be revoked")
        check_range("remask.share", self.share, 0, 1, "the share of visible tokens that one forward may revoke")
        check_choice("remask.scope", self.scope, SCOPES)

    @property
    def reads_logits(self) -> bool:  # type: ignore[override]  # depends on a field
        return self.score == "t2t"

    @property
    def columns(self) -> Mapping[str, Column]:  # type: ignore[override]
        """How often a token was revoked at a position, and what its probability was one forward earlier."""
        before = {"t2m_before": Column(fill=np.nan, reset=True)} if self.score == "logit_diff" else {}
        return {**UntilQuiet.columns, "t2m_times": Column(dtype="int64"), **before}

    def shown(self) -> str:
        return f"{self.score} {super().shown()}"

    def measure(self, view: View, word: Word) -> Mapping[str, Tensor]:
        best = word.logits.softmax(-1).max(-1)
        return {"t2m_token": best.indices, "t2m_probability": best.values}

    def suspicion(self, view: View, reading: Reading) -> np.ndarray:
        """[n, W] float64; above `limit` a token is suspect."""
        if self.score == "low_prob":
            return -reading.visible_probability
        if self.score == "t2t":
            other = reading.measured["t2m_token"] != view.ids
            return np.where(other, reading.measured["t2m_probability"], -np.inf)
        drop = view.recall("t2m_before") - reading.visible_probability
        return np.where((view.visits == 0)[:, None] | np.isnan(drop), -np.inf, drop)

    @property
    def limit(self) -> float:
        """θ, on the scale of `suspicion`."""
        return -self.threshold if self.score == "low_prob" else self.threshold  # type: ignore[operator,return-value]

    def select(self, view: View, reading: Reading, commit: np.ndarray) -> np.ndarray:
        suspicion = self.suspicion(view, reading)
        suspect = view.revocable & (suspicion > self.limit) & (view.recall("t2m_times") < self.most)
        allowed = np.maximum(1, (view.revocable.sum(1) * self.share).astype(np.int64))
        return suspect & (ranks(np.where(suspect, -suspicion, np.inf)) < allowed[:, None])

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        kept = dict(super().remember(view, reading, edit))
        if edit.revoke is not None:
            kept["t2m_times"] = view.recall("t2m_times") + edit.revoke
        if self.score == "logit_diff":
            said = np.where(edit.commit, reading.confidence, reading.visible_probability)
            kept["t2m_before"] = np.where(edit.commit | view.revocable, said, view.recall("t2m_before"))
        return kept
