"""Dream's own sampler: tempered, filtered scores on a linear schedule (arXiv 2508.15487)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from warmexp.decode.reading import Reading, Word, ranks
from warmexp.decode.strategy import Setup, Unmask
from warmexp.decode.view import View
from warmexp.decode.windows import check_steps
from warmexp.errors import check_choice, check_range

ALGORITHMS = ("entropy", "maskgit_plus", "topk_margin", "origin")
_END = 1e-3  # the schedule goes from time 1 to here
_TINY = 1e-10  # the published code adds it to probabilities before their logarithm


@dataclass
class Dream(Unmask):
    """In forward k of s: of m masked positions commit the ⌊m·(1 - t_{k+1}/t_k)⌋ of largest score, in the last all;
    t_k = 1 - (1 - 0.001)·k/s.

    Scores are those of q, softmax(z/T) cut to the `top_k` best tokens and to the fewest that hold `top_p` of it, from
    which tokens are drawn too: q of the drawn token (algorithm=maskgit_plus), q₁ - q₂ (topk_margin), Σ q·ln q
    (entropy). `origin` commits every position with probability 1 - t_{k+1}/t_k, whatever its score. A T near 0
    saturates scores, equal ones go from left to right, and decoding becomes nearly autoregressive. (The loop's
    confidence stays untempered.)

    As published the schedule has forwards that commit nothing, the first of s = m among them; NFE is s. A window that
    has some of its positions already has quotas of the others: warm starts save nothing unless `steps` falls.

    steps: s of a window, as many as it has positions in the published evaluation. temperature, top_p: T and the share
    of q; 0.1 and 0.9 there. top_k: 0 is all. alg_temp: above 0, positions are drawn with chances softmax(score /
    alg_temp) instead; 0 there.
    """

    algorithm: str = "entropy"
    steps: int = 256
    temperature: float = 0.1
    top_p: float = 0.9
    top_k: int = 0
    alg_temp: float = 0.0
    curve = "steps"
    symbols = {"steps": "s", "temperature": "T", "top_p": "top-p"}
    reads_logits = True
    idles = True

    def __post_init__(self) -> None:
        check_choice("unmask.algorithm", self.algorithm, ALGORITHMS)
        check_range("unmask.steps", self.steps, 1, 10**6, "the number of forwards planned for a window")
        check_range("unmask.temperature", self.temperature, 0, 100, "the sampling temperature")
        check_range("unmask.top_p", self.top_p, 0, 1, "the share of the probability that is drawn from", open_low=True)
        check_range("unmask.top_k", self.top_k, 0, 2**31, "the number of tokens that are drawn from; 0: all")
        check_range("unmask.alg_temp", self.alg_temp, 0, 100, "the temperature of the choice of positions")

    def check(self, setup: Setup) -> None:
        check_steps("unmask.steps", self.steps, setup)

    def shown(self) -> str:
        return f"{self.algorithm} {super().shown()}"

    def drawn_from(self, logits: Tensor) -> Tensor:
        return torch.cat([self._filtered(piece) for piece in logits.split(64)])

    def _filtered(self, logits: Tensor) -> Tensor:
        """Ties: of equally probable tokens the one of the lowest id is kept first (top_p); all are (top_k)."""
        tempered = logits / self.temperature if self.temperature > 0 else logits
        kept = torch.ones_like(logits, dtype=torch.bool)
        if self.top_p < 1:
            best = tempered.softmax(-1).sort(dim=-1, descending=True, stable=True)
            enough = best.values.cumsum(-1) - best.values > self.top_p
            kept = torch.empty_like(kept).scatter_(1, best.indices, ~enough)
        if 0 < self.top_k < logits.shape[1]:
            kept &= logits >= logits.topk(self.top_k).values[:, -1:]
        return logits.masked_fill(~kept, -torch.inf)

    def measure(self, view: View, word: Word) -> Mapping[str, Tensor]:
        if self.algorithm == "origin":
            return {}
        pieces = zip(word.logits.split(64), word.token.split(64), strict=True)
        return {"dream_score": torch.cat([self._score(*piece) for piece in pieces])}

    def _score(self, logits: Tensor, token: Tensor) -> Tensor:
        q = (self._filtered(logits) / (self.temperature or 1.0)).softmax(-1)
        if self.algorithm == "entropy":
            return (q * (q + _TINY).log()).sum(-1)
        if self.algorithm == "topk_margin":
            best = q.topk(2).values
            return best[:, 0] - best[:, 1]
        return q.gather(1, token[:, None])[:, 0]

    def share(self, view: View) -> np.ndarray:
        """[n] float64, of the masked positions that this forward commits."""
        now = 1 - (1 - _END) * view.visits / self.steps
        return np.where(view.visits < self.steps - 1, (1 - _END) / self.steps / now, 1.0)

    def select(self, view: View, reading: Reading) -> np.ndarray:
        share = self.share(view)
        if self.algorithm == "origin":
            return view.masked & (view.uniform("unmask") < share[:, None])
        score = reading.measured["dream_score"]
        if self.alg_temp > 0:  # the k largest of scores with Gumbel noise are k draws without replacement
            noise = -np.log(-np.log(view.uniform("unmask").clip(min=1e-300)))
            score = score / self.alg_temp + noise
        quota = np.floor(view.masked.sum(1) * share)
        return view.masked & (ranks(-np.where(view.masked, score, -np.inf)) < quota[:, None])
