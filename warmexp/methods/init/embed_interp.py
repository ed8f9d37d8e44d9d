"""Embedding interpolation (arXiv 2512.19004, Method 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from warmexp.decode.canvas import Question, Start
from warmexp.decode.columns import Column
from warmexp.decode.edit import Edit
from warmexp.decode.reading import Reading, Word, normalised_entropy
from warmexp.decode.strategy import Init, Setup
from warmexp.decode.view import View
from warmexp.errors import UserError, check_choice, check_range
from warmexp.methods.init.token_inject import slots
from warmexp.rng import uniform

DURATIONS = ("first", "masked", "fade")
NORMS = ("none", "match")


@dataclass
class EmbedInterp(Init):
    """Eqs. (6)-(7): ids stay masked; masked position i is fed (1-λ)·e_M + λ·E(x̂_i), or e_M alone with probability p.

    lam: λ in [0, 1], the proposal's share (the prose of the paper; the recovered code mixes 0.4 proposal with 0.6
    mask). 0 is cold.
    p: dropout in [0, 1], drawn once per position; 1 is the cold start.
    duration: how long the prior lasts. `first`: the question's first forward only (what the recovered code does);
        `masked`: as long as the position is masked; `fade`: λ falls linearly to 0 over `fade_forwards` forwards.
    by_trust, by_entropy, norm: not the paper's. The weight becomes λ·t_i·H_i/ln V, with the author's trust t_i and the
        backbone's entropy H_i over V tokens where it last read position i (as if at its largest before that): the prior
        makes room as the backbone makes up its mind. LRD (arXiv 2510.11052) and soft masking (2510.17206) weigh the
        backbone's own tokens by its entropy like that. norm=match gives mixtures the length of e_M: mixing changes the
        norm as much as the direction (LRD, of Dream, where the mask's is 0.33 and other tokens' 0.87).
    """

    lam: float = 0.4
    p: float = 0.5
    duration: str = "first"
    fade_forwards: int = 8
    by_trust: bool = False
    by_entropy: bool = False
    norm: str = "none"
    reads_proposal = True

    def __post_init__(self) -> None:
        check_range("lambda", self.lam, 0, 1, "the proposal's share of an input embedding")
        check_range("p", self.p, 0, 1, "the probability with which a position's prior is dropped")
        check_choice("init.duration", self.duration, DURATIONS)
        check_range(
            "init.fade_forwards", self.fade_forwards, 1, 10**6, "the number of forwards over which the prior fades"
        )
        check_choice("init.norm", self.norm, NORMS)
        if self.by_entropy and self.duration == "first":
            raise UserError(
                "init.by_entropy=true is about the forwards after the first: set init.duration=masked or fade."
            )

    def shown(self) -> str:
        parts = [f"λ={self.lam:.4g}"]
        parts += [f"p={self.p:.4g}"] if self.p else []
        return " ".join(parts if self.duration == "first" else [*parts, self.duration])

    def start(self, question: Question, length: int, seed: int) -> Start:
        tokens, covered = slots(question, length)
        weight = (uniform(seed, question.id, "dropout", length) >= self.p).astype(float)
        weight[covered:] = 0.0
        if self.by_trust and question.trust:
            weight[:covered] *= question.trust[:covered]
        return Start(tokens, np.zeros(length, dtype=bool), weight)

    def replays(self, setup: Setup) -> bool:
        return self.duration == "masked" and not self.by_entropy

    def mixture(self, view: View) -> np.ndarray:
        if self.duration == "first":
            left = (view.forwards == 0).astype(float)
        elif self.duration == "masked":
            left = np.ones(len(view.rows))
        else:
            left = (1 - view.forwards / self.fade_forwards).clip(min=0)
        weight = (self.lam * left)[:, None] * view.whole("weight")
        if self.by_entropy:
            weight = weight * view.whole("doubt")
        return np.where(view.whole("masked"), weight, 0.0)

    @property
    def reads_logits(self) -> bool:  # type: ignore[override]
        return self.by_entropy

    @property
    def columns(self) -> Mapping[str, Column]:  # type: ignore[override]
        """The backbone's entropy when it last read the position, over its largest."""
        return {"doubt": Column(fill=1.0)} if self.by_entropy else {}

    def measure(self, view: View, word: Word) -> Mapping[str, Tensor]:
        return {"entropy": normalised_entropy(word.logits)}

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        if not self.by_entropy:
            return {}
        return {"doubt": np.where(view.masked, reading.measured["entropy"], view.recall("doubt"))}
