"""A guide's forwards: an autoregressive model reads what the backbone proposes, from left to right.

It keeps the keys and values of the prompt and of what is on the canvas before the first mask, which stay right until a
token there changes, and computes a proposal's own each time. They are exact: a position sees nothing behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from warmexp.decode.forward import Forward
from warmexp.decode.meter import Meter
from warmexp.decode.view import View
from warmexp.models.backbone import Backbone
from warmexp.models.keys_values import KeysValues
from warmexp.models.wanted import upload


@dataclass
class Guided:
    """A guide beside the questions of a batch. Row i of the canvas has its keys and values in slot i.

    known: [slots, positions] int64, prompt first, the tokens whose keys and values are kept; -1 from the first on whose
    are not. rules_out: tokens that may not be written.
    """

    model: Backbone
    meter: Meter
    rules_out: Sequence[int] = ()
    kept: KeysValues = field(init=False)
    known: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=np.int64))

    def __post_init__(self) -> None:
        self.kept = KeysValues(self.model.transformer.config, self.model.dtype, self.model.device)

    def admit(self, first: int, past: int, length: int) -> None:
        """Room for questions in the slots `first` … past - 1, of at most so many positions."""
        self.kept.reserve(past, length)
        old = self.known
        self.known = np.full((max(past, len(old)), max(length, old.shape[1])), -1, dtype=np.int64)
        self.known[: len(old), : old.shape[1]] = old
        self.known[first:] = -1

    def move(self, source: int, target: int) -> None:
        """A question takes another's slot."""
        self.kept.move(source, target)
        self.known[target] = self.known[source]

    def asking(self, view: View) -> Asking:
        """What evidence asks: it and its view."""
        return Asking(self, view)

    def read(self, view: View, token: Tensor, rows: np.ndarray | None = None) -> Tensor:
        """What it says of every position that is read, given the prompt and everything on its left.

        token: [R] long, what stands at the masked positions. rows: [n] bool, the only ones that are asked about.

        Behind an end token of the response the text is over: it says the end of text with certainty there, as whoever
        writes from left to right has stopped.

        Returns:
            [R, V] float64 logarithms of probabilities; zeros where nothing is masked or asked.
        """
        device, vocabulary = token.device, self.model.vocabulary
        said = torch.zeros(len(token), vocabulary, dtype=torch.float64, device=device)
        row, column = view.at
        masked = (view.masked if rows is None else view.masked & rows[:, None])[view.at].nonzero()[0]
        if not len(masked):
            return said
        asked, of = np.unique(row[masked], return_inverse=True)
        position = (view.first[row] + column)[masked]
        ids = view.canvas.sequences(view.rows[asked])
        prompts, lengths = view.canvas.prompt_length[view.rows[asked]], view.row_length[asked]
        settled, last = _first(ids == view.canvas.mask_id), np.zeros_like(lengths)
        np.minimum.at(settled, of, position)
        np.maximum.at(last, of, position)
        slots = view.rows[asked]
        start = np.minimum(_first(self.known[slots, : ids.shape[1]] != ids), settled - 1)
        count = last - start
        here = np.arange(self.known.shape[1]) < settled[:, None]
        self.known[slots] = np.where(here, _padded(ids, self.known.shape[1]), -1)
        fed, index, place = upload(ids, device), upload(of, device), upload(position, device)
        fed[index, place] = token[upload(masked, device)]
        window = self.kept.window(slots.tolist(), *map(torch.from_numpy, (start, count, last)))
        columns = np.minimum(start[:, None] + np.arange(count.max()), ids.shape[1] - 1)
        request = Forward(
            fed.gather(1, upload(columns, device)), lengths, count, of, position, kind="guide", window=window
        )
        logits = self.meter.forward(request, tuple(view.questions[i] for i in asked), self.model)
        if self.rules_out:
            logits[:, upload(np.array(self.rules_out, dtype=np.int64), device)] = -torch.inf
        over = self._over(fed, upload(prompts, device))[index, place]
        found = logits.log_softmax(-1)
        if self.model.eos_id not in self.rules_out:
            others = torch.arange(vocabulary, device=device) != self.model.eos_id
            found = torch.where(over[:, None], torch.where(others, -torch.inf, 0.0).double(), found)
        said[upload(masked, device)] = found
        return said

    def _over(self, ids: Tensor, prompts: Tensor) -> Tensor:
        """[n, T] bool, whether an end token of the response stands before a position."""
        ends = torch.zeros_like(ids, dtype=torch.bool)
        for end in self.model.end_ids:
            ends |= ids == end
        ends &= torch.arange(ids.shape[1], device=ids.device) >= prompts[:, None]
        return (ends.cumsum(1) - ends.long()) > 0


@dataclass(frozen=True)
class Asking:
    """A guide that is asked about one forward's windows."""

    guided: Guided
    view: View

    def __call__(self, token: Tensor, rows: np.ndarray | None = None) -> Tensor:
        """As Guided.read."""
        return self.guided.read(self.view, token, rows)


def _first(where: np.ndarray) -> np.ndarray:
    """[n] int64, the first column in which [n, T] is true; T without one."""
    return np.where(where.any(1), where.argmax(1), where.shape[1])


def _padded(ids: np.ndarray, width: int) -> np.ndarray:
    """[n, width], what is missing on the right filled up with -1."""
    return np.pad(ids, ((0, 0), (0, width - ids.shape[1])), constant_values=-1)
