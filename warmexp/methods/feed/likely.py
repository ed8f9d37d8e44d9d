"""Masks that are fed what the last forward thought of them: its most probable tokens, weighed by how sure it was."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from warmexp.decode.columns import Column
from warmexp.decode.edit import Edit
from warmexp.decode.mixture import Mixture
from warmexp.decode.reading import Reading, Word, entropy, normalised_entropy, top
from warmexp.decode.strategy import Feed
from warmexp.decode.view import View
from warmexp.errors import check_range

_READ = "likely_read_"  # before what is measured: a column of the same name would be stored where it was computed


@dataclass
class Likely(Feed):
    """The k most probable tokens of the forward that read a position last. A position that has not been read, or whose
    token was taken back, is fed the mask.

    k: how many tokens; at least 1.
    """

    k: int = 8
    feeds = True
    reads_logits = True

    def __post_init__(self) -> None:
        check_range("feed.k", self.k, 1, 64, "the number of tokens that a mask is fed")

    @property
    def columns(self) -> Mapping[str, Column]:  # type: ignore[override]
        """Tokens, their probabilities (0: never read) and the entropy, position by position."""
        tokens = {f"likely_token_{j}": Column(dtype="int64", reset=True) for j in range(self.k)}
        shares = {f"likely_{j}": Column(reset=True) for j in range(self.k)}
        return {**tokens, **shares, "likely_entropy": Column(reset=True)}

    def doubt(self, logits: Tensor) -> Tensor:
        """[R] float64 of [R, V]: the entropy that `shares` is given."""
        return entropy(logits)

    @abstractmethod
    def shares(self, p: np.ndarray, doubt: np.ndarray, visits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[n, L, k], the tokens' weights, and [n, L], the mask's. p: [n, L, k], doubt: [n, L], visits: [n], forwards in
        the window before this one."""

    def measure(self, view: View, word: Word) -> Mapping[str, Tensor]:
        probability, token = top(word.logits, min(self.k, word.logits.shape[1]))
        found = {"entropy": self.doubt(word.logits)}
        for j, (p, v) in enumerate(zip(probability.unbind(1), token.unbind(1), strict=True)):
            found |= {f"{j}": p, f"token_{j}": v}
        return {f"{_READ}{name}": value for name, value in found.items()}

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        return {
            f"likely_{name.removeprefix(_READ)}": np.where(view.masked, value, 0)
            for name, value in reading.measured.items()
            if name.startswith(_READ)
        }

    def mixture(self, view: View) -> Mixture | None:
        token = np.stack([view.whole(f"likely_token_{j}") for j in range(self.k)], -1)
        p = np.stack([view.whole(f"likely_{j}") for j in range(self.k)], -1)
        weight, mask = self.shares(p, view.whole("likely_entropy"), view.visits)
        where = view.whole("masked") & (p[..., 0] > 0)
        return Mixture(token, np.where(where[..., None] & (p > 0), weight, 0.0), np.where(where, mask, 1.0))


@dataclass
class SoftMask(Likely):
    """(1-λ)·e_M + λ·Σ π_v·e_v, π the softmax over the k largest logits, λ = ω_s·sigmoid(ω_a·(-H - ω_b)), H the entropy
    in nats (soft-masked diffusion, arXiv 2510.17206).

    There the backbone is adapted to such inputs and ω learned with it; the defaults are of its trained adapter for
    Dream, on a backbone that was not adapted. scale: ω_s; slope: ω_a; offset: ω_b.
    """

    k: int = 3
    scale: float = 0.25
    slope: float = 5.0
    offset: float = -1.0
    symbols = {"scale": "ω"}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("feed.scale", self.scale, 0, 1, "the largest share of the tokens")
        check_range("feed.slope", self.slope, 0, 1000, "how sharply the share falls with the entropy")
        check_range("feed.offset", self.offset, -100, 100, "minus the entropy at which half the share is left")

    def shares(self, p: np.ndarray, doubt: np.ndarray, visits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        share = self.scale / (1 + np.exp(-self.slope * (-doubt - self.offset)))
        return share[..., None] * _normed(p), 1 - share


@dataclass
class Lrd(Likely):
    """(1-α)·e_M + α·Σ π_v·e_v, π the distribution over the fewest tokens that have `mass` of the probability (at most k
    of them), α = r·(1 - H / ln V) (the inputs of latent refinement decoding, arXiv 2510.11052, whose phases without a
    commit and early stop are not here).

    rate: r; 0.1 to 0.2 as published, where 1 collapses.
    """

    rate: float = 0.15
    mass: float = 0.9
    symbols = {"rate": "r"}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("feed.rate", self.rate, 0, 1, "the largest share of the tokens")
        check_range("feed.mass", self.mass, 0, 1, "the probability that the tokens have together", open_low=True)

    def doubt(self, logits: Tensor) -> Tensor:
        return normalised_entropy(logits)

    def shares(self, p: np.ndarray, doubt: np.ndarray, visits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        before = p.cumsum(-1) - p
        share = self.rate * (1 - doubt)
        return share[..., None] * _normed(np.where(before < self.mass, p, 0.0)), 1 - share


@dataclass
class SoftIteration(Likely):
    """e_M + w·Σ p_v·e_v over the k most probable tokens, with w = min(first + growth·n, most) in a window's n-th
    forward from 0: the mask keeps its whole share (dInfer's soft iteration, which sums over the vocabulary and lets τ
    fall beside it)."""

    first: float = 0.15
    growth: float = 0.02
    most: float = 0.3
    symbols = {"most": "w"}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("first", "growth", "most"):
            check_range(f"feed.{name}", getattr(self, name), 0, 1, "a weight of the tokens")

    def shares(self, p: np.ndarray, doubt: np.ndarray, visits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weight = np.minimum(self.first + self.growth * visits, self.most)
        return weight[:, None, None] * p, np.ones(doubt.shape)


def _normed(p: np.ndarray) -> np.ndarray:
    return p / np.maximum(p.sum(-1, keepdims=True), np.finfo(float).tiny)
