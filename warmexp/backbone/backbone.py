"""A backbone as the decoder sees it: rows of ids (or input embeddings) in, logits for chosen positions out.

It knows the transformer, the ids of its special tokens and its logit alignment; it knows nothing about canvases or policies.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from warmexp.backbone.keys_values import Window
from warmexp.backbone.transformer import Transformer
from warmexp.backbone.wanted import Wanted

ALIGNMENTS = ("aligned", "shifted")


@dataclass
class Backbone:
    """A loaded transformer and how to read it.

    logits: `aligned` if the hidden state at i predicts the token at i (LLaDA), `shifted` if the one at i-1 does (Dream).
    end_ids: tokens that end a response (end of text, end of turn); the text after the first of them is not part of the answer.
    """

    transformer: Transformer
    mask_id: int
    eos_id: int
    logits: str = "aligned"
    end_ids: tuple[int, ...] = ()

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
    ) -> Tensor:
        """One forward.

        Args:
            ids: [B, T] long, each row's tokens from column 0, padded on the right with anything.
            lengths: [B] long, true lengths; padding is never attended to.
            row, position: [R] long, the positions whose token distribution is wanted (position ≥ 1 for shifted logits).
            embeddings: [B, T, d_model], used instead of ids' embeddings when given.
            window: where ids are not whole rows but the positions `window.starts` and on: the other positions' keys and values.
        lengths, row and position are used on the host; on a GPU they make it wait.
        Returns:
            [R, embedding_size] logits in the weights' dtype.
        """
        x = self.embed(ids) if embeddings is None else embeddings
        lengths, row, position = lengths.cpu(), row.cpu(), position.cpu()
        column = position - self.shift - (window.starts[row] if window else 0)
        valid = torch.arange(window.width if window else x.shape[1]) < lengths[:, None]
        mask = None if bool(valid.all()) else valid[:, None, None, :].to(x.device)
        wanted = Wanted.of(row, column, len(lengths)).to(x.device)
        kept = (window.positions, window.layers()) if window else (None, None)
        return self.transformer.head(self.transformer(x, mask, *kept, wanted))
