"""A backbone as the decoder sees it: rows of ids (or input embeddings) in, logits for chosen positions out.

It knows the transformer, the ids of its special tokens and its logit alignment; it knows nothing about canvases or
policies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from warmexp.models.keys_values import Window
from warmexp.models.tiles import Attending
from warmexp.models.transformer import Transformer
from warmexp.models.wanted import Wanted, upload

ALIGNMENTS = ("aligned", "shifted")


@dataclass
class Backbone:
    """A loaded transformer and how to read it.

    logits: `aligned` if the hidden state at i predicts the token at i (LLaDA), `shifted` if the one at i-1 does
    (Dream).
    end_ids: tokens that end a response (end of text, end of turn); the text after the first of them is not part of the
    answer.
    textless: runs [first, past the last) of ids that stand for no token: rows that fill up the embedding table.
    causal: every position sees itself and what stands before it, whatever the transformer was made for.
    """

    transformer: Transformer
    mask_id: int
    eos_id: int
    logits: str = "aligned"
    end_ids: tuple[int, ...] = ()
    textless: tuple[tuple[int, int], ...] = ()
    causal: bool = False

    def __post_init__(self) -> None:
        if self.logits not in ALIGNMENTS:
            raise ValueError(f"backbone.logits={self.logits} is not one of {', '.join(ALIGNMENTS)}")
        self.end_ids = tuple(self.end_ids) or (self.eos_id,)

    @property
    def shift(self) -> int:
        """How far left of a position the hidden state stands that predicts it."""
        return int(self.logits == "shifted")

    @property
    def device(self) -> torch.device:
        return self.transformer.wte.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.transformer.wte.weight.dtype

    @property
    def vocabulary(self) -> int:
        """Entries of the embedding table, of which some may be no token."""
        return self.transformer.wte.weight.shape[0]

    def read_causally(self) -> Backbone:
        """The same weights as an autoregressive model: from left to right, the hidden state at i-1 predicts token i."""
        return replace(self, logits="shifted", causal=True)

    def rule_out(self, logits: Tensor) -> Tensor:
        """Minus infinity, in place, for what is never committed: the mask and the ids that no token has. logits: [R,
        vocabulary]."""
        for first, past in ((self.mask_id, self.mask_id + 1), *self.textless):
            logits[:, first:past] = -torch.inf
        return logits

    def embed(self, ids: Tensor) -> Tensor:
        """[...] long -> [..., d_model]."""
        return self.transformer.embed(ids)

    def __call__(
        self,
        ids: Tensor,
        lengths: Tensor,
        row: Tensor,
        position: Tensor,
        embeddings: Tensor | None = None,
        window: Window | None = None,
        attend: Attending | None = None,
    ) -> Tensor:
        """One forward.

        Args:
            ids: [B, T] long, each row's tokens from column 0, padded on the right with anything.
            lengths: [B] long, true lengths; padding is never attended to.
            row, position: [R] long, the positions whose token distribution is wanted (position ≥ 1 for shifted logits).
            embeddings: [B, T, d_model], used instead of ids' embeddings when given.
            window: where ids are not whole rows but the positions `window.starts` and on, or a set of them: the other
            positions' keys and values.
            attend: how rows attend, where not to everything; not beside a window.
        lengths, row and position are used on the host; on a GPU they make it wait.
        Returns:
            [R, embedding_size] logits in the weights' dtype.
        """
        lengths, row, position = lengths.cpu(), row.cpu(), position.cpu()
        column = window.column(row, position - self.shift) if window else position - self.shift
        width, extra = ids.shape[1], 0 if attend is not None else self._padding(*ids.shape)
        mask = self._mask(lengths.numpy(), window, width, extra, ids.device)
        x = pad(self.embed(ids) if embeddings is None else embeddings, (0, 0, 0, extra))
        wanted = Wanted.of(row, column, len(lengths), x.device, self._rows)
        if window is not None:
            hidden = self.transformer(x, mask, window.places(extra), window.layers(), wanted, window.reach)
        elif extra:
            kept = [partial(_first, width)] * len(self.transformer.blocks)
            hidden = self.transformer(x, mask, keep=kept, wanted=wanted)
        else:
            hidden = self.transformer(x, mask, wanted=wanted, **({} if attend is None else {"attend": attend}))
        return self.transformer.head(hidden)[: len(row)]

    def _mask(
        self, lengths: np.ndarray, window: Window | None, width: int, extra: int, device: torch.device
    ) -> Tensor | None:
        """Who sees whom, [B, 1, 1 or T, keys] bool on the device; None where everybody sees everything."""
        keys = np.arange(window.width if window else width)
        valid = keys < lengths[:, None]
        if window is not None and window.seen is not None:
            valid &= window.seen[:, : len(keys)]
        size = self.attention_block
        if not size:
            return None if valid.all() else upload(valid[:, None, None], device)
        starts = window.starts.numpy() if window else np.zeros_like(lengths)
        block = (starts[:, None] + np.arange(width + extra)) // size
        if valid.all() and (block[:, 0] >= keys[-1] // size).all():
            return None  # the row's last block, beside what stands before it
        seen = upload(keys // size, device) <= upload(block, device)[:, None, :, None]
        return seen if valid.all() else seen & upload(valid[:, None, None], device)

    @property
    def attention_block(self) -> int:
        """How many positions see each other and nothing behind them; 0: every position sees every position."""
        if self.causal:
            return 1
        config = getattr(self.transformer, "config", None)
        return 0 if config is None else config.attention_block

    @property
    def _rows(self) -> int:
        return getattr(self.transformer, "rows", 1)

    def _padding(self, rows: int, width: int) -> int:
        """Columns to be added, so that all positions together are a multiple of what the transformer prefers."""
        return -width % (self._rows // math.gcd(self._rows, rows))


def _first(count: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """[B, H, T, D] without what padding has computed."""
    return keys[:, :, :count], values[:, :, :count]
