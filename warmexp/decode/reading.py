"""What the backbone said about the windows: first on the device, with all logits, then the few numbers that are read
from there.

Confidence, Gumbel noise and ties: everything here is float64, ties go to the lowest index, and confidence is taken from
the untempered distribution (a tempered one saturates and turns threshold decoding into left-to-right decoding).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from warmexp.decode.meter import TokenProbabilities
from warmexp.decode.sampling import sampled
from warmexp.decode.view import View, frozen
from warmexp.models.wanted import upload


@dataclass(frozen=True)
class Word:
    """The backbone's word on the R positions that are read, where its logits are. Evidence gives another one for it.

    logits: [R, V] float64, the mask token at -inf. token: [R] long, the proposed token at masked positions, the visible
    one elsewhere.
    confidence: [R] float64, the softmax probability of `token`. accepted: [R] bool, what a guide lets pass, which
    strategies find as `reading.measured["accepted"]`; None where nobody has judged. temperature, drawn_from: how the
    backbone's tokens were proposed.
    """

    logits: Tensor
    token: Tensor
    confidence: Tensor
    accepted: Tensor | None = None
    temperature: float = 0.0
    drawn_from: Callable[[Tensor], Tensor] = field(default=lambda z: z, repr=False)

    @classmethod
    def of(
        cls, logits: Tensor, view: View, temperature: float, drawn_from: Callable[[Tensor], Tensor] = lambda z: z
    ) -> Word:
        """Above temperature 0 the proposed tokens are sampled, of what `drawn_from` makes of the logits."""
        if temperature == 0:
            choice = logits.argmax(-1)  # the first of equal maxima
        else:
            choice = sampled(drawn_from(logits), temperature, upload(view.bits("gumbel"), logits.device))
        masked, there = view.on_device(view.masked, logits.device), view.on_device(view.ids, logits.device)
        said = TokenProbabilities.of(logits, torch.where(masked, choice, there))
        return cls(logits, said.token, said.probability, temperature=temperature, drawn_from=drawn_from)

    def another(self, view: View, purpose: str) -> Tensor:
        """[R] long, tokens drawn as those of the backbone were, with draws of their own for each purpose; what is
        visible stays."""
        drawn = sampled(self.drawn_from(self.logits), self.temperature, upload(view.bits(purpose), self.logits.device))
        return torch.where(view.on_device(view.masked, drawn.device), drawn, self.token)


@dataclass(frozen=True)
class Asked:
    """Answers about the whole canvas, [n, L]: token, int64, that was asked about or is the most probable one, -1 where
    nothing was asked; probability, float64, its softmax probability, NaN there."""

    token: np.ndarray
    probability: np.ndarray

    @classmethod
    def of(
        cls, asked: np.ndarray, at: tuple[np.ndarray, np.ndarray], token: np.ndarray, probability: np.ndarray
    ) -> Asked:
        """asked: [n, L] int64, as Draft.asks returned it. at, token, probability: [R], what was read."""
        tokens, found = np.full(asked.shape, -1, dtype=np.int64), np.full(asked.shape, np.nan)
        tokens[at], found[at] = token, probability
        nowhere = asked < 0
        tokens[nowhere], found[nowhere] = -1, np.nan
        return cls(frozen(tokens), frozen(found))


@dataclass(frozen=True)
class Reading:
    """What strategies decide by: arrays [n, W].

    token: int64, the proposed token at masked positions, the visible one elsewhere. confidence: float64, softmax
    probability of `token` at masked positions, -1 elsewhere. visible_probability: float64, softmax probability of the
    visible token at a revocable position (Eq. 10), 1 elsewhere; where the remask policy scores from shadows, that of a
    masked query which does not see it. measured: what strategies have measured from the logits (Strategy.measure), NaN
    where nothing was read. asked: what a draft has asked about the whole canvas (Draft.asks), None where it has not.
    """

    token: np.ndarray
    confidence: np.ndarray
    visible_probability: np.ndarray
    measured: Mapping[str, np.ndarray] = field(default_factory=dict)
    asked: Asked | None = None

    def take(self, index: np.ndarray) -> Reading:
        """Some of its rows."""
        arrays = (self.token[index], self.confidence[index], self.visible_probability[index])
        measured = {name: value[index] for name, value in self.measured.items()}
        asked = self.asked and Asked(self.asked.token[index], self.asked.probability[index])
        return Reading(*arrays, measured, asked)

    @classmethod
    def of(
        cls, view: View, token: np.ndarray, probability: np.ndarray, measured: Mapping[str, np.ndarray] | None = None
    ) -> Reading:
        """From [R] numbers."""
        proposed = view.ids.copy()
        proposed[view.at] = token
        full = view.spread(probability, 1.0)
        confidence = np.where(view.masked, full, -1.0)
        visible = np.where(view.masked, 1.0, full) if view.any_revocable else np.ones_like(full)
        spread = {
            name: view.spread(value, np.nan if value.dtype.kind == "f" else 0)
            for name, value in (measured or {}).items()
        }
        return cls(frozen(proposed), frozen(confidence), frozen(visible), spread)


def ranks(values: np.ndarray) -> np.ndarray:
    """[n, W] int64: 0 for the smallest of a row; equal values go by index, the lowest first."""
    return values.argsort(axis=1, kind="stable").argsort(axis=1)


# Measures of a distribution, for Strategy.measure.


def top(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """[R, k] float64 and long: the largest probabilities and their tokens. logits: [R, V] float64."""
    total = _logsumexp(logits)
    best = logits.topk(k)
    return (best.values - total[:, None]).exp(), best.indices


def entropy(logits: Tensor) -> Tensor:
    """[R] float64, nats. logits: [R, V] float64."""
    return torch.cat([torch.special.entr(piece.softmax(-1)).sum(-1) for piece in logits.split(64)])


def normalised_entropy(logits: Tensor) -> Tensor:
    """[R] float64 in [0, 1]: the entropy over the largest there can be (of all tokens but the mask)."""
    return (entropy(logits) / math.log(max(2, logits.shape[1] - 1))).clamp(max=1.0)


def _logsumexp(logits: Tensor) -> Tensor:
    # In pieces: the exponentials of all rows at once would take as much memory again as the logits.
    return torch.cat([piece.logsumexp(-1) for piece in logits.split(64)])
