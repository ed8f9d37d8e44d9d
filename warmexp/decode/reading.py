"""What strategies read: the current block of every row, and what the backbone said about it.

Confidence, Gumbel noise and ties: everything here is float64, ties go to the lowest index, and confidence is taken from the
untempered distribution (a tempered one saturates and turns threshold decoding into left-to-right decoding).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from warmexp.decode.state import FIXED, Canvas
from warmexp.rng import uniform


@dataclass
class Block:
    """The current block of each row. All tensors [B, W] unless said otherwise; `soft` prior tokens are in `prior`."""

    positions: Tensor  # long, response positions
    ids: Tensor
    source: Tensor
    prior: Tensor
    masked: Tensor  # bool
    revocable: Tensor  # bool, visible positions the remask policy may revoke
    visits: Tensor  # [B], forwards run in this block before this one: the k of Eq. (11)
    forwards: Tensor  # [B], forwards run for the question before this one
    questions: tuple[str, ...]
    seed: int

    @classmethod
    def of(cls, canvas: Canvas, candidates: Callable[[Tensor], Tensor], seed: int) -> Block:
        positions = canvas.window
        ids, source = canvas.ids.gather(1, positions), canvas.source.gather(1, positions)
        masked = ids == canvas.mask_id
        return cls(
            positions=positions,
            ids=ids,
            source=source,
            prior=canvas.prior.gather(1, positions),
            masked=masked,
            revocable=candidates(source) & ~masked & (source != FIXED),
            visits=canvas.visits,
            forwards=canvas.forwards,
            questions=tuple(q.id for q in canvas.questions),
            seed=seed,
        )

    def uniform(self, purpose: str) -> Tensor:
        """[B, W] float64 draws from U[0, 1), keyed by (seed, question, purpose, forward index), position by position."""
        steps = self.forwards.tolist()
        end = self.positions[:, -1].tolist()
        width = self.positions.shape[1]
        # A draw belongs to a response position: draw the canvas up to the block's end and keep the block.
        draws = [uniform(self.seed, q, purpose, e + 1, step=n)[-width:] for q, n, e in zip(self.questions, steps, end, strict=True)]
        return torch.from_numpy(np.stack(draws)).to(self.positions.device)


@dataclass
class Reading:
    """The backbone's word on the current block.

    logits: [R, V] float64 for the R positions in `rows` ([B, W] bool, row-major order), the mask token at -inf.
    token: [B, W] long, the proposed token at masked positions (the sitting one elsewhere).
    confidence: [B, W] float64, softmax probability of `token` at masked positions, -1 elsewhere.
    sitting: [B, W] float64, softmax probability of the token that sits at a revocable position (Eq. 10), 1 elsewhere.
    """

    logits: Tensor
    rows: Tensor
    token: Tensor
    confidence: Tensor
    sitting: Tensor

    @classmethod
    def of(cls, logits: Tensor, rows: Tensor, block: Block, temperature: float) -> Reading:
        scored = logits if temperature == 0 else logits / temperature + _gumbel(logits, rows, block)
        choice = scored.argmax(-1)  # the first of equal maxima
        ids = block.ids[rows]
        masked = block.masked[rows]
        proposed = torch.where(masked, choice, ids)
        probability = (logits.gather(1, proposed[:, None])[:, 0] - logits.logsumexp(-1)).exp()
        token = block.ids.clone()
        token[rows] = proposed
        full = torch.ones(block.ids.shape, dtype=torch.float64, device=logits.device)
        full[rows] = probability
        return cls(
            logits=logits,
            rows=rows,
            token=token,
            confidence=torch.where(block.masked, full, -1.0),
            sitting=torch.where(block.masked, 1.0, full),
        )


def _gumbel(logits: Tensor, rows: Tensor, block: Block) -> Tensor:
    """Gumbel noise [R, V] keyed by (question, forward index) and indexed by (position, token): argmax(z/T + g) samples softmax(z/T)."""
    row, column = rows.nonzero(as_tuple=True)
    noise = np.empty(logits.shape)
    vocabulary = logits.shape[1]
    for b, question in enumerate(block.questions):
        mine = (row == b).cpu().numpy()
        if mine.any():
            draws = uniform(block.seed, question, "gumbel", (block.positions.shape[1], vocabulary), step=int(block.forwards[b]))
            noise[mine] = draws[column[row == b].cpu().numpy()]
    u = torch.from_numpy(noise).to(logits.device).clamp_(min=torch.finfo(torch.float64).tiny)
    return -torch.log(-torch.log(u))
