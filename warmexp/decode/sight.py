"""What a watcher is shown: the whole canvas as one forward reads it, window or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from warmexp.decode.meter import TokenProbabilities
from warmexp.decode.reading import Reading
from warmexp.decode.view import View, frozen
from warmexp.models.wanted import upload


@dataclass(frozen=True)
class Outlook:
    """Which positions of the canvas a forward reads: R of them, in row-major order. row, place: [R] int64, of the view
    and of the canvas. inner: [R] bool, those that would have been read anyway, in the order of `view.at`."""

    row: np.ndarray
    place: np.ndarray
    inner: np.ndarray

    @classmethod
    def of(cls, view: View, wanted: np.ndarray) -> Outlook:
        """wanted: [n, L] bool."""
        anyway = np.zeros_like(wanted)
        i, j = view.at
        anyway[i, view.positions[i, j]] = True
        row, place = (wanted | anyway).nonzero()
        return cls(row, place, anyway[row, place])

    @property
    def at(self) -> tuple[np.ndarray, np.ndarray]:
        """[R] int64 each, row and place."""
        return self.row, self.place

    def answers(self, logits: Tensor, asked: np.ndarray, mask_id: int) -> list[Tensor]:
        """[R] each: the token that is asked about, the most probable one where that is the mask or none is, and its
        probability. logits: [R, V] float64; asked: [n, L] int64."""
        token = upload(np.ascontiguousarray(asked[self.at]), logits.device)
        said = TokenProbabilities.of(logits, torch.where((token == mask_id) | (token < 0), logits.argmax(-1), token))
        return [said.token, said.probability]

    def among_all(self, chosen: np.ndarray) -> np.ndarray:
        """[R] bool from one entry for each position that would have been read anyway."""
        made = np.zeros(len(self.row), dtype=bool)
        made[self.inner] = chosen
        return made


@dataclass(frozen=True)
class Sight:
    """Arrays [n, L] over whole canvases. token: int64, what stands there, and at a masked position what the forward
    proposes (in the window what is proposed to the unmasking policy, elsewhere the most probable token). confidence:
    float64, the softmax probability of that token, gap: float64, how far the largest logit is above the next; NaN where
    nothing was read."""

    token: np.ndarray
    confidence: np.ndarray
    gap: np.ndarray

    def take(self, index: np.ndarray) -> Sight:
        """Some of its rows."""
        return Sight(self.token[index], self.confidence[index], self.gap[index])

    @staticmethod
    def measured(logits: Tensor) -> list[Tensor]:
        """[R] each: the most probable token, its probability and the gap. logits: [R, V] float64."""
        best = logits.topk(2).values
        said = TokenProbabilities.of(logits, logits.argmax(-1))  # the first of equal maxima
        return [said.token, said.probability, best[:, 0] - best[:, 1]]

    @classmethod
    def of(cls, view: View, reading: Reading, outlook: Outlook, said: list[np.ndarray]) -> Sight:
        """said: what `measured` gave, on the host."""
        ids, masked = view.whole("ids"), view.whole("masked")
        token, sure, gap = ids.copy(), np.full(ids.shape, np.nan), np.full(ids.shape, np.nan)
        said_token = ids.copy()
        said_token[outlook.at], sure[outlook.at], gap[outlook.at] = said
        token = np.where(masked, said_token, ids)
        i, j = view.masked.nonzero()
        token[i, view.positions[i, j]], sure[i, view.positions[i, j]] = reading.token[i, j], reading.confidence[i, j]
        return cls(frozen(token), frozen(sure), frozen(gap))
