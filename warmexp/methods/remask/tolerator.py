"""Fill, then refine: a full window is read again and again with other tokens hidden, which are then predicted anew
(Tolerator, now FiRe, arXiv 2510.05090)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from warmexp.decode.columns import Column
from warmexp.decode.edit import Edit, Replacement
from warmexp.decode.reading import Reading, Word, ranks
from warmexp.decode.sampling import sampled
from warmexp.decode.strategy import Remask, Setup
from warmexp.decode.view import View
from warmexp.errors import UserError, check_choice, check_range
from warmexp.methods.remask.bernoulli import SCOPES
from warmexp.models.wanted import upload


@dataclass
class Tolerator(Remask):
    """Once a window is full, `rounds` forwards more: the k-th reads it with n - ⌊n·(1 - s_k)⌋ of its n open tokens
    masked, drawn at random, and puts what it predicts there, all at once, in their place.

    s_k = end + (start - end)·(1 + cos(π·k/(rounds - 1)))/2. A position at which `repeats` predictions in a row were the
    same is closed; the window is left when all are. Filling is the unmasking policy's affair. A round is one forward,
    also where it changes nothing. A window that begins full, such as a draft, is only refined. Published on one block
    of the whole canvas.

    rounds: 32, and the values below, are those of the released evaluation. temperature: of the new tokens, 0.3; the
    fill had 0.5 there, and an end-of-text logit divided by 1.2, which is not done here. start, end: 0.8 and 0.4.
    repeats: ≥ 1, 10. scope: which tokens may be replaced, as in remask=linear.
    """

    rounds: int = 32
    start: float = 0.8
    end: float = 0.4
    repeats: int = 10
    temperature: float = 0.3
    scope: str = "all"
    reads_logits = True
    symbols = {"rounds": "rounds"}
    columns = {
        "refined": Column("row", "int64"),  # rounds in the present window
        "same": Column(dtype="int64"),  # how many predictions in a row have been the same here
    }

    def __post_init__(self) -> None:
        check_range("remask.rounds", self.rounds, 0, 2**20, "a number of forwards")
        check_range("remask.start", self.start, 0, 1, "a share of a window's tokens", open_low=True)
        check_range("remask.end", self.end, 0, 1, "a share of a window's tokens", open_low=True)
        check_range("remask.repeats", self.repeats, 1, 2**20, "a number of predictions")
        check_range("remask.temperature", self.temperature, 0, 100, "the sampling temperature")
        check_choice("remask.scope", self.scope, SCOPES)

    def check(self, setup: Setup) -> None:
        super().check(setup)
        if setup.parts["cache"].keeps:
            raise UserError(
                f"{setup.said('remask')} reads tokens as masks for one forward, which {setup.said('cache')} would keep:"
                " choose cache=none."
            )

    def past(self, view: View) -> np.ndarray:
        """[n] int64, rounds in this window before this forward."""
        return np.where(view.visits == 0, 0, view.recall("refined"))

    def open(self, view: View) -> np.ndarray:
        """[n, W] bool, what a round may hide; nothing where something is masked or the rounds are over."""
        ready = ~view.masked.any(1) & (self.past(view) < self.rounds)
        return view.revocable & (view.recall("same") < self.repeats) & ready[:, None]

    def hides(self, view: View) -> np.ndarray:
        free = self.open(view)
        progress = self.past(view) / max(1, self.rounds - 1) if self.rounds > 1 else np.ones(len(view.rows))
        share = self.end + (self.start - self.end) * 0.5 * (1 + np.cos(np.pi * progress))
        count = free.sum(1) - (free.sum(1) * (1 - share)).astype(np.int64)
        if not count.any():
            return np.zeros_like(free)
        return free & (ranks(np.where(free, view.uniform("refine"), np.inf)) < count[:, None])

    def again(self, view: View) -> np.ndarray:
        return np.asarray(self.open(view).any(1))

    def measure(self, view: View, word: Word) -> Mapping[str, Tensor]:
        if self.temperature == 0:
            token = word.logits.argmax(-1)
        else:
            token = sampled(word.logits, self.temperature, upload(view.bits("refined"), word.logits.device))
        said = word.logits.log_softmax(-1).gather(1, token[:, None])[:, 0].exp()
        return {"refined_token": token, "refined_probability": said}

    def select(self, view: View, reading: Reading, commit: np.ndarray) -> np.ndarray:
        return np.zeros_like(view.revocable)

    def replace(self, view: View, reading: Reading, commit: np.ndarray) -> Replacement:
        token = reading.measured["refined_token"]
        return Replacement(self.hides(view) & (token != view.ids), token, reading.measured["refined_probability"])

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        hidden, times = self.hides(view), view.recall("same")
        again = reading.measured["refined_token"] == view.ids  # the first prediction is one in a row, come what may
        return {
            "refined": self.past(view) + self.open(view).any(1),
            "same": np.where(hidden, np.where(again, times + 1, 1), times),
        }
