"""Prophet: all masks are filled at once as soon as the answer is clear (arXiv 2508.19982)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.sight import Sight
from warmexp.decode.strategy import Texts, Watch
from warmexp.decode.view import View
from warmexp.errors import check_choice, check_range

KINDS = ("strict", "flexible")


@dataclass
class Prophet(Watch):
    """Finish a question, with the present forward's token at every mask, where the mean gap between the largest and the
    next logit over the positions of its answer is ≥ 7.5 / 5 / 2.5 while less than 0.33 / less than 0.67 / more of the
    canvas is visible.

    The answer is where the task finds one in the tokens that the forward proposes, visible ones included; the
    published code plants the words before it at fixed positions of the canvas and takes the next five (init=scaffold
    does that). Progress is the share of the canvas that is visible before this forward. In the released code it is
    forward / steps of a quota, the present forward included, so its bound falls one forward earlier; with that one left
    out, and its answer at fixed positions, tokens and forwards are the same.

    early, mid, late: ≥ 0, of logits; no published value below 0 exists. kind: which of the task's filters finds the
    answer, `strict` (the first marked one) or `flexible` (any number, which is soon there).
    """

    early: float = 7.5
    mid: float = 5.0
    late: float = 2.5
    kind: str = "strict"
    looks = True
    reads_visible = True
    symbols = {"early": "gap"}

    def __post_init__(self) -> None:
        for name in ("early", "mid", "late"):
            check_range(f"watch.{name}", getattr(self, name), 0, np.inf, "a difference of two logits")
        check_choice("watch.kind", self.kind, KINDS)

    def bind(self, texts: Texts, length: int) -> None:
        self._texts = texts

    def finish(self, view: View, sight: Sight) -> np.ndarray:
        masked = view.whole("masked")
        progress = (~masked).mean(1)  # not 1 - masked.mean(1), which is below 0.33 where 33 of 100 are visible
        needed = np.where(progress < 0.33, self.early, np.where(progress < 0.67, self.mid, self.late))
        return masked.any(1) & (
            np.array([self.gap(*row) for row in zip(sight.token, sight.gap, strict=True)]) >= needed
        )

    def gap(self, token: np.ndarray, gap: np.ndarray) -> float:
        """Over the answer's positions; -inf without an answer. token, gap: [L]."""
        found = self._texts.answer(token.tolist(), self.kind)
        return float(gap[found[1] : found[2]].mean()) if found else -np.inf
