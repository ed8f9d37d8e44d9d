"""A forward, asked for: which positions are computed, what is fed, and which hidden states go through the head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from warmexp.decode.view import Span, View
from warmexp.models.backbone import Backbone
from warmexp.models.keys_values import KeysValues, Window
from warmexp.models.tiles import Attending
from warmexp.models.wanted import upload

if TYPE_CHECKING:
    from warmexp.decode.sight import Outlook


@dataclass
class Forward:
    """Rows of tokens, and what is wanted of them.

    ids: [B, T] long on the device, right-padded rows (prompt, then canvas), or where a window is given the part of them
    that is computed.

    lengths, computed: [B] int64, true row lengths and how many positions of each are computed. row, position: [R]
    int64, the logits that are wanted, row by row. All four on the host. embeddings: [B, T, d_model] or None; replaces
    ids when given. window: kept keys and values. hidden: [R] bool on the host, wanted tokens that what predicts them
    may not see (models/shadow.py). block: [B] int64 and a number, where a stretch begins in each row and how long it
    is, if what hides them are masks for all of it that see each other. mixed: [B, T] bool on the host, where
    `embeddings` are not those of ids. lane: [B] int64, which of its question's rows each is, counted from 0; None: the
    only one. attend: how rows attend, where not to everything.
    """

    ids: Tensor
    lengths: np.ndarray
    computed: np.ndarray
    row: np.ndarray
    position: np.ndarray
    embeddings: Tensor | None = None
    kind: str = "full"
    window: Window | None = None
    hidden: np.ndarray | None = None
    mixed: np.ndarray | None = None
    block: tuple[np.ndarray, int] | None = None
    lane: np.ndarray | None = None
    attend: Attending | None = None

    def mix(
        self,
        backbone: Backbone,
        prompts: np.ndarray,
        token: np.ndarray,
        weight: np.ndarray,
        mask: np.ndarray | None = None,
        match: bool = False,
    ) -> None:
        """Feed m·e_M + Σ w_j·E(v_j) where any w_j > 0 (Eq. 6, with k tokens in the place of one).

        Args:
            prompts: [B] int64, where the canvases begin. token: v, [B, L, k] int64. weight: w, [B, L, k] float64.
            mask: m, [B, L] float64; None: 1 - Σ w_j. match: give the mixture the length of e_M.
        """
        device, length = self.ids.device, token.shape[1]
        if self.window and self.window.host_columns is not None:
            columns = self.window.host_columns[:, : self.ids.shape[1]] - prompts[:, None]
        else:
            first = self.window.starts.numpy() if self.window else np.zeros_like(self.lengths)
            columns = (first - prompts)[:, None] + np.arange(self.ids.shape[1])
        inside = (columns >= 0) & (columns < length)
        columns = columns.clip(0, length - 1)
        row = np.arange(len(columns))[:, None]
        share = np.where(inside[..., None], weight[row, columns], 0.0)
        mixed = np.asarray((share > 0).any(-1))
        if not mixed.any():
            return
        embeddings = backbone.embed(self.ids) if self.embeddings is None else self.embeddings
        w = upload(share, device)[..., None].to(embeddings.dtype)
        alone = backbone.embed(torch.full((), backbone.mask_id, device=device))
        m = 1 - w.sum(-2) if mask is None else upload(mask[row, columns], device)[..., None].to(embeddings.dtype)
        blend = m * alone
        for j in range(token.shape[2]):
            blend = blend + w[..., j, :] * backbone.embed(upload(np.ascontiguousarray(token[row, columns, j]), device))
        if match:
            blend = blend * (alone.norm() / blend.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(blend.dtype).tiny))
        self.embeddings = torch.where(upload(mixed, device)[..., None], blend, embeddings)
        self.mixed = mixed if self.mixed is None else self.mixed | mixed

    def hide(self, hidden: np.ndarray, copies: int, block: tuple[np.ndarray, int] | None = None) -> None:
        """Read these of the wanted tokens, [R] bool, from shadows, each of which is so many more positions to compute;
        with a `block`, that many for each of its positions, in rows that have any."""
        self.hidden, self.block = hidden, block
        shadows = np.bincount(self.row[hidden], minlength=len(self.lengths))
        self.computed = self.computed + copies * (shadows if block is None else (shadows > 0) * block[1])

    def groups(self, positions: int) -> Iterator[tuple[slice | np.ndarray, Forward]]:
        """The same in groups of rows, each a single row or at most so many positions, and which of the R logits every
        group has.

        On the CPU rows of one length go together where nothing is kept: no keys are padded then, on which the order of
        attention's sums depends, and what is said of a row is the same to the last bit whatever its neighbours are.
        """
        if len(self.lengths) == 1:
            yield slice(None), self
            return
        length = (self.lengths << 32) + self.computed
        if self.ids.is_cpu and self.window is None and (length != length[0]).any():
            order = length.argsort(kind="stable")
            for alike in np.split(order, np.flatnonzero(np.diff(length[order])) + 1):
                count = max(1, positions // int(self.computed[alike[0]]))
                for rows in np.split(alike, range(count, len(alike), count)):
                    yield self.of(rows)
            return
        count = max(1, positions // int(self.computed.max()))
        if count >= len(self.lengths):
            yield slice(None), self
            return
        for first in range(0, len(self.lengths), count):
            yield self.of(slice(first, first + count))

    def of(self, rows: slice | np.ndarray) -> tuple[slice | np.ndarray, Forward]:
        """Some of its rows, a slice or (where there is no window) [n] int64 in ascending order, and which of the R
        logits they have."""
        place = np.full(len(self.lengths), -1)
        place[rows] = np.arange(len(self.lengths[rows]))
        found = (place[self.row] >= 0).nonzero()[0]
        wanted: slice | np.ndarray = found
        if isinstance(rows, slice):
            wanted = slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0)
        width = slice(int(self.computed[rows].max()))
        here = rows if isinstance(rows, slice) else upload(rows, self.ids.device)
        return wanted, replace(
            self,
            ids=self.ids[here, width],
            lengths=self.lengths[rows],
            computed=self.computed[rows],
            row=place[self.row[wanted]],
            position=self.position[wanted],
            hidden=None if self.hidden is None else self.hidden[wanted],
            block=None if self.block is None else (self.block[0][rows], self.block[1]),
            lane=None if self.lane is None else self.lane[rows],
            embeddings=None if self.embeddings is None else self.embeddings[here, width],
            mixed=None if self.mixed is None else self.mixed[rows, width],
            window=self.window.of(rows) if self.window and isinstance(rows, slice) else None,
            attend=None if self.attend is None else self.attend.of(rows),
        )


def whole_forward(
    prompts: Sequence[Sequence[int]],
    ids: np.ndarray,
    wanted: np.ndarray,
    device: torch.device,
    extent: np.ndarray | None = None,
) -> Forward:
    """Everything computed. ids: [B, L] int64, canvases. wanted: [B, L] bool, the positions of which logits are. extent:
    [B] int64, how many of the L positions a canvas has; None: all."""
    length = ids.shape[1]
    first = np.array([len(prompt) for prompt in prompts])
    rows = np.zeros((len(ids), length + first.max()), dtype=np.int64)
    for row, prompt, canvas in zip(rows, prompts, ids, strict=True):
        row[: len(prompt)], row[len(prompt) : len(prompt) + length] = prompt, canvas
    row, column = wanted.nonzero()
    ends = first + (length if extent is None else extent)
    return Forward(upload(np.ascontiguousarray(rows[:, : ends.max()]), device), ends, ends, row, first[row] + column)


def forward_of(
    view: View,
    span: Span,
    kept: KeysValues | None,
    device: torch.device,
    unseen: np.ndarray | None = None,
    outlook: Outlook | None = None,
) -> Forward:
    """The forward that computes `span` of the view's rows and reads what is eligible. kept: has these rows where the
    canvas has them. unseen: [n, W] bool, tokens in the place of which it is fed the mask.
    outlook: what is read, where that is more than what is eligible."""
    ids, lengths = view.canvas.sequences(view.rows), view.row_length
    if unseen is not None:
        i, j = unseen.nonzero()
        ids[i, view.first[i] + j] = view.canvas.mask_id
    counts = span.count
    row, position = view.at if outlook is None else outlook.at
    position = position + (view.first if outlook is None else view.canvas.prompt_length[view.rows])[row]
    kind = "full"
    if not view.full:
        kind = "block" if span.chosen is None and (span.end == view.last).all() else "window"
        if view.canvas.attention_block:
            kind = "commit" if view.ahead(span).any() else "full" if view.anew(span).all() else "block"
        columns = np.minimum(span.start[:, None] + np.arange(counts.max()), ids.shape[1] - 1)
        if span.chosen is not None:
            columns = np.argsort(~span.chosen, axis=1, kind="stable")
        ids = np.take_along_axis(ids, columns, 1)
    seen = span.end if view.canvas.attention_block else lengths
    window = None
    if kept and span.chosen is not None:
        window = kept.window_of(view.rows.tolist(), span.chosen, _host(lengths), span.seen)
    elif kept:
        window = kept.window(view.rows.tolist(), *map(_host, (span.start, counts, seen)))
    ids = np.ascontiguousarray(ids[:, : counts.max()])
    return Forward(upload(ids, device), lengths, counts, row, position, kind=kind, window=window)


def _host(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
