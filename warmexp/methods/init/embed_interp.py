"""Embedding interpolation (arXiv 2512.19004, Method 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
    k: not the paper's either. How many of the author's likeliest tokens the prior is made of: E(x̂_i) becomes
        Σ π_v·e_v over the k likeliest, π their probabilities by the author, divided by their sum (soft masking and LRD
        do so with the backbone's own). 1 is the proposal's token alone. The author tells them with
        proposer.likely=k or more; where it said nothing, the proposal's token stands alone.
    """

    lam: float = 0.4
    p: float = 0.5
    duration: str = "first"
    fade_forwards: int = 8
    by_trust: bool = False
    by_entropy: bool = False
    norm: str = "none"
    k: int = 1
    reads_proposal = True

    def __post_init__(self) -> None:
        check_range("lambda", self.lam, 0, 1, "the proposal's share of an input embedding")
        check_range("p", self.p, 0, 1, "the probability with which a position's prior is dropped")
        check_choice("init.duration", self.duration, DURATIONS)
        check_range(
            "init.fade_forwards", self.fade_forwards, 1, 10**6, "the number of forwards over which the prior fades"
        )
        check_choice("init.norm", self.norm, NORMS)
        check_range("init.k", self.k, 1, 64, "the number of the author's tokens that a prior is made of")
        if self.by_entropy and self.duration == "first":
            raise UserError(
                "init.by_entropy=true is about the forwards after the first: set init.duration=masked or fade."
            )

    def shown(self) -> str:
        parts = [f"λ={self.lam:.4g}"]
        parts += [f"p={self.p:.4g}"] if self.p else []
        parts += [f"k={self.k}"] if self.k > 1 else []
        return " ".join(parts if self.duration == "first" else [*parts, self.duration])

    def start(self, question: Question, length: int, seed: int) -> Start:
        tokens, covered = slots(question, length)
        weight = (uniform(seed, question.id, "dropout", length) >= self.p).astype(float)
        weight[covered:] = 0.0
        if self.by_trust and question.trust:
            weight[:covered] *= question.trust[:covered]
        return Start(tokens, np.zeros(length, dtype=bool), weight, columns=self._likely(question, tokens, covered))

    def _likely(self, question: Question, tokens: np.ndarray, covered: int) -> dict[str, np.ndarray]:
        """Columns of tokens and their parts: what the author told, or the proposal's own token."""
        if self.k == 1:
            return {}
        token, part = np.repeat(tokens[:, None], self.k, 1), np.zeros((len(tokens), self.k))
        part[:, 0] = 1.0
        for i, found in enumerate(question.likely[:covered]):
            kept = found[: self.k]
            total = sum(p for _, p in kept)
            if total > 0:
                token[i, : len(kept)] = [t for t, _ in kept]
                part[i] = [*(p / total for _, p in kept), *[0.0] * (self.k - len(kept))]
        names = range(self.k)
        return {f"author_{j}": token[:, j] for j in names} | {f"author_part_{j}": part[:, j] for j in names}

    @property
    def reads_likely(self) -> bool:  # type: ignore[override]
        return self.k > 1

    def priors(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        if self.k == 1:
            return super().priors(view)
        names = range(self.k)
        token = np.stack([view.whole(f"author_{j}") for j in names], -1)
        return token, np.stack([view.whole(f"author_part_{j}") for j in names], -1)

    def identity(self) -> dict[str, Any]:
        """Runs of one token, which are older than this option, have no entry of it."""
        return {name: value for name, value in super().identity().items() if name != "k" or self.k > 1}

    def check(self, setup: Setup) -> None:
        super().check(setup)
        if self.k > 1 and self.k > (told := setup.parts["proposer"].likely):
            raise UserError(
                f"init.k={self.k} mixes the author's {self.k} likeliest tokens, of which {setup.said('proposer')} tells"
                f" {told}: set init.k=1, or proposer.likely={self.k} where the proposer has it (hf and the lab's have),"
                " or `likely` in the lines of proposer=file."
            )

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
        """What the author told, and the backbone's entropy when it last read the position, over its largest."""
        names = range(self.k) if self.k > 1 else ()
        told = {f"author_{j}": Column(dtype="int64", follows=True) for j in names}
        told |= {f"author_part_{j}": Column(follows=True) for j in names}
        return told | ({"doubt": Column(fill=1.0)} if self.by_entropy else {})

    def measure(self, view: View, word: Word) -> Mapping[str, Tensor]:
        return {"entropy": normalised_entropy(word.logits)}

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        if not self.by_entropy:
            return {}
        return {"doubt": np.where(view.masked, reading.measured["entropy"], view.recall("doubt"))}
