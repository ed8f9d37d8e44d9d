"""Candidates of a parallel draw, reweighted by an autoregressive energy (EDLM, arXiv 2410.21357)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from warmexp.decode.guided import Asking
from warmexp.decode.meter import TokenProbabilities
from warmexp.decode.reading import Word
from warmexp.decode.sampling import gumbel
from warmexp.decode.strategy import Consulting, Setup
from warmexp.decode.view import View
from warmexp.errors import UserError, check_range
from warmexp.models.wanted import upload


@dataclass
class EnergyResampling(Consulting):
    """The backbone draws n candidates x^1 … x^n for the masked positions of the window, each position for itself; one
    of them is kept, drawn from softmax(E / T_is) with

        E(x) = Σ_i log q(x_i | x_<i) - log p_i(x_i),

    q the guide, p the distribution that was drawn from: importance resampling of the factorised draw towards a joint
    one. The unmasking rule then commits of it what it commits. Every candidate is a forward of the guide.

    n: ≥ 1; 1 changes nothing and asks nobody. first, last: only while the masked share of the canvas is in [last,
    first], 1 ≥ first ≥ last ≥ 0; published are 0.6 and 0.4, in the scripts 1 and 0.4. temperature: T_is > 0 of the
    choice, 1. Needs unmask.temperature above 0.
    """

    n: int = 2
    first: float = 1.0
    last: float = 0.4
    temperature: float = 1.0
    symbols = {"n": "n"}

    def __post_init__(self) -> None:
        check_range("evidence.edlm.n", self.n, 1, 2**10, "how many candidates are drawn")
        check_range("evidence.edlm.first", self.first, 0, 1, "the masked share from which on it asks")
        check_range("evidence.edlm.last", self.last, 0, 1, "the masked share below which it asks no more")
        check_range("evidence.edlm.temperature", self.temperature, 0, 1e6, "of the choice", open_low=True)
        if self.last > self.first:
            raise UserError(
                f"evidence.edlm.last={self.last} is above evidence.edlm.first={self.first}: masked shares fall while a"
                " canvas is decoded, so choose last ≤ first."
            )

    def check(self, setup: Setup) -> None:
        super().check(setup)
        if setup.parts["unmask"].temperature == 0:
            raise UserError(
                "evidence=[edlm] chooses among draws and unmask.temperature=0 draws none: set unmask.temperature=1."
            )

    def consult(self, view: View, word: Word, guide: Asking) -> Word:
        inside = view.whole("inside")
        share = (view.whole("masked") & inside).sum(1) / inside.sum(1)
        asked = (share <= self.first) & (share >= self.last) & view.masked.any(1)
        if self.n == 1 or not asked.any():
            return word
        device = word.token.device
        row, where = upload(view.at[0], device), view.on_device(view.masked & asked[:, None], device)
        p = (word.drawn_from(word.logits) / word.temperature).log_softmax(-1)
        drawn = [word.token, *(word.another(view, f"candidate {c}") for c in range(1, self.n))]
        energies = [_energy(guide(token, asked), p, token, where, row, len(asked)) for token in drawn]
        first = np.searchsorted(view.at[0], np.arange(len(asked)))  # of each row's positions that are read
        keys = upload(view.bits("energy")[first], device)
        choice = (torch.stack(energies, 1) / self.temperature + gumbel(keys, self.n)).argmax(1)
        token = torch.stack(drawn).gather(0, choice[row][None])[0]
        said = TokenProbabilities.of(word.logits, torch.where(where, token, word.token))
        changed = said.token != word.token
        return replace(
            word,
            token=said.token,
            confidence=torch.where(changed, said.probability, word.confidence),
        )


def _energy(q: Tensor, p: Tensor, token: Tensor, where: Tensor, row: Tensor, rows: int) -> Tensor:
    """[rows] float64, Σ log q - log p of the tokens. q, p: [R, V]. where: [R] bool, which of them count."""
    found = (q.gather(1, token[:, None]) - p.gather(1, token[:, None]).clamp(min=-700.0))[:, 0]
    return torch.zeros(rows, dtype=torch.float64, device=q.device).index_add_(0, row, torch.where(where, found, 0.0))
