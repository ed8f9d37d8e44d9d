"""What strategies read: the current block of every row, and what the backbone said about it.

Confidence, Gumbel noise and ties: everything here is float64, ties go to the lowest index, and confidence is taken from the
untempered distribution (a tempered one saturates and turns threshold decoding into left-to-right decoding).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from warmexp.decode.meter import Said
from warmexp.decode.rows import Row, Span
from warmexp.decode.sampling import sampled
from warmexp.decode.state import Canvas
from warmexp.models.wanted import upload
from warmexp.rng import bits, uniform


@dataclass
class Block:
    """The current block of each row. All tensors [B, W] unless said otherwise."""

    canvas: Canvas
    positions: Tensor  # long, response positions
    ids: Tensor
    masked: Tensor  # bool
    revocable: Tensor  # bool, visible positions the remask policy may revoke
    visits: Tensor  # [B], forwards run in this block before this one: the k of Eq. (11)
    forwards: Tensor  # [B], forwards run for the question before this one
    questions: tuple[str, ...]
    seed: int

    at: tuple[Tensor, Tensor]  # [R] long each, row and column of every position that is masked or revocable
    host_at: tuple[np.ndarray, np.ndarray]  # the same on the host
    sitting: Tensor  # [R] bool, whether it is revocable; on the host
    steps: tuple[int, ...]  # forwards, on the host
    ends: tuple[int, ...]  # response position after the block, on the host
    any_revocable: bool

    @classmethod
    def of(cls, canvas: Canvas, rows: Sequence[Row], spans: Sequence[Span], seed: int) -> Block:
        """The blocks of `canvas`, whose rows stand like `rows` and are about to be read in `spans`."""
        device = canvas.ids.device
        eligible = np.array([span.eligible(row) for row, span in zip(rows, spans, strict=True)])
        ends = tuple(row.end - len(q.prompt) for row, q in zip(rows, canvas.questions, strict=True))
        positions = upload(np.array(ends)[:, None] + np.arange(-canvas.block_length, 0), device)
        masked, revocable = upload(eligible, device).unbind(1)
        at = eligible.any(1).nonzero()
        return cls(
            canvas=canvas,
            positions=positions,
            ids=canvas.ids.gather(1, positions),
            masked=masked,
            revocable=revocable,
            visits=canvas.visits,
            forwards=canvas.forwards,
            questions=tuple(q.id for q in canvas.questions),
            seed=seed,
            any_revocable=bool(eligible[:, 1].any()),
            at=tuple(upload(index, device) for index in at),
            host_at=at,
            sitting=torch.from_numpy(eligible[:, 1][at]),
            steps=tuple(row.forwards for row in rows),
            ends=ends,
        )

    @property
    def asked(self) -> Tensor:
        """[R] long, the token at each of these positions."""
        return self.ids[self.at]

    @property
    def source(self) -> Tensor:
        return self.canvas.source.gather(1, self.positions)

    @property
    def prior(self) -> Tensor:
        """The proposal's tokens."""
        return self.canvas.prior.gather(1, self.positions)

    @property
    def trust(self) -> Tensor:
        """float64, of the prior's token; NaN where there is none."""
        return self.canvas.trust.gather(1, self.positions)

    @property
    def undone(self) -> Tensor:
        """long, how often a token was revoked here."""
        return self.canvas.undone.gather(1, self.positions)

    def uniform(self, purpose: str) -> Tensor:
        """[B, W] float64 draws from U[0, 1), keyed by (seed, question, purpose, forward index), position by position."""
        # A draw belongs to a response position: draw the canvas up to the block's end and keep the block.
        width = self.positions.shape[1]
        keys = zip(self.questions, self.steps, self.ends, strict=True)
        draws = [uniform(self.seed, q, purpose, end, step=n)[-width:] for q, n, end in keys]
        return upload(np.stack(draws), self.positions.device)

    def keys(self, purpose: str) -> Tensor:
        """[R] long, 64 random bits for every position that is read, keyed by (seed, question, purpose, forward index, position)."""
        row, column = self.host_at
        place = np.array(self.ends)[row] - self.positions.shape[1] + column
        drawn = [bits(self.seed, q, purpose, end, step=n) for q, n, end in zip(self.questions, self.steps, self.ends, strict=True)]
        found = [drawn[i][j] for i, j in zip(row.tolist(), place.tolist(), strict=True)]
        return upload(np.array(found, dtype=np.uint64).view(np.int64), self.positions.device)


@dataclass
class Reading:
    """The backbone's word on the current block.

    token: [B, W] long, the proposed token at masked positions (the sitting one elsewhere).
    confidence: [B, W] float64, softmax probability of `token` at masked positions, -1 elsewhere.
    sitting: [B, W] float64, softmax probability of the token that sits at a revocable position (Eq. 10), 1 elsewhere; where the remask
        policy scores from shadows, that of a masked query which does not see it.
    rows: [B, W] bool, the R positions that were read, masked or revocable.
    logits: [R, V] float64 for these in row-major order, the mask token at -inf; None where no policy reads logits.
    """

    token: Tensor
    confidence: Tensor
    sitting: Tensor
    rows: Tensor
    logits: Tensor | None = None

    @classmethod
    def of(cls, logits: Tensor, block: Block, temperature: float) -> Reading:
        """From logits, which stay readable; above temperature 0 the proposed tokens are sampled."""
        # The first of equal maxima.
        choice = logits.argmax(-1) if temperature == 0 else sampled(logits, temperature, block.keys("gumbel"))
        return cls.said(Said.of(logits, torch.where(block.masked[block.at], choice, block.asked)), block, logits)

    @classmethod
    def said(cls, said: Said, block: Block, logits: Tensor | None = None) -> Reading:
        """From what was said about the block's tokens."""
        at = block.at
        full = torch.ones(block.ids.shape, dtype=torch.float64, device=said.token.device).index_put(at, said.probability)
        return cls(
            token=block.ids.index_put(at, said.token),
            confidence=torch.where(block.masked, full, -1.0),
            sitting=torch.where(block.masked, 1.0, full),
            rows=block.masked | block.revocable,
            logits=logits,
        )

    def entropy(self, block: Block) -> Tensor:
        """[B, W] float64, entropy of the backbone's distribution over the largest it can have, in [0, 1]; 1 where nothing was read."""
        nats = torch.cat([torch.special.entr(piece.softmax(-1)).sum(-1) for piece in self.logits.split(64)])
        most = math.log(max(2, self.logits.shape[1] - 1))  # all but the mask
        return torch.ones_like(self.confidence).index_put(block.at, (nats / most).clamp(max=1.0))
