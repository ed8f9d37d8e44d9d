"""LoPA: branches that each look one token further, of which the surest goes on (arXiv 2512.16229)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from warmexp.decode.lanes import Chosen, Lanes, questions_of
from warmexp.decode.reading import Reading, Word, entropy
from warmexp.decode.view import View
from warmexp.errors import check_choice, check_range
from warmexp.methods.draft.remembered import Remembered

MEASURES = ("entropy", "confidence")


@dataclass
class LoPA(Remembered):
    """Candidates are the canvas and k-1 branches; branch r has the r-th most probable of the tokens that the last
    forward proposed and did not commit. A question goes on from the candidate of the largest α·c + (1-α)·s, where c is
    the probability with which a branch's token was proposed (1 for the canvas itself) and s the mean, over the share of
    the window's masks with the lowest of them, of how sure the new forward is there: -H in nats, or the largest
    probability. Of equal candidates the first. With what that forward says the unmasking rule commits as ever.

    k: candidates; 1 is no draft. 2 to 4, published for GSM8K with alpha=0, share=1, measure=entropy. A window with one
    mask left has no branches.
    """

    k: int = 4
    alpha: float = 0.0
    share: float = 1.0
    measured_by: str = "entropy"
    symbols = {"k": "k"}

    def __post_init__(self) -> None:
        check_range("draft.k", self.k, 1, 256, "the number of candidates per question")
        check_range("draft.alpha", self.alpha, 0, 1, "the weight of a branch's own probability")
        check_range("draft.share", self.share, 0, 1, "the share of a window's masks that are looked at", open_low=True)
        check_choice("draft.measured_by", self.measured_by, MEASURES)

    @property
    def most(self) -> int:
        return self.k

    @property
    def reads_logits(self) -> bool:  # type: ignore[override]
        return self.measured_by == "entropy"

    def measure(self, view: View, word: Word) -> Mapping[str, Tensor]:
        return {"doubt": entropy(word.logits)}

    def lanes(self, view: View) -> Lanes | None:
        left = view.masked.sum(1)
        drafts = [(row, order[: self.k - 1]) for row, order in enumerate(self.order(view)) if left[row] > 1]
        return self.laid(
            view, [(row, positions[r : r + 1]) for row, positions in drafts for r in range(len(positions))]
        )

    def choose(self, view: View, reading: Reading, commit: np.ndarray) -> Chosen:
        if self.measured_by == "entropy":
            sure = np.where(view.masked, -reading.measured["doubt"], np.inf)
        else:
            sure = np.where(view.masked, reading.confidence, np.inf)
        count = np.ceil(self.share * view.masked.sum(1)).astype(int)
        lowest = np.where(np.arange(sure.shape[1]) < count[:, None], np.sort(sure, 1), 0.0)
        born = np.ones(len(view.rows))
        if view.laid is not None:
            born = np.where(view.laid.any(1), np.where(view.laid, view.whole("confidence"), 0.0).sum(1), born)
        score = self.alpha * born + (1 - self.alpha) * lowest.sum(1) / count
        question = questions_of(view.candidates)
        best = np.full(question[-1] + 1, -np.inf)
        np.maximum.at(best, question, score)
        won = np.flatnonzero(score == best[question])
        return Chosen(won[np.searchsorted(question[won], np.arange(len(best)))])
