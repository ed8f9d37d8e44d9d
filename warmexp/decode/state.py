"""What is being decoded: questions, their canvases, and the one function that edits them.

All tensors are response-aligned: column j is response position j, whatever the length of a row's prompt. B is the number of unfinished
questions, L the canvas length, W the block length. A position is *masked* iff its id is the mask id; nothing else records it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

# Where the token at a position came from. FIXED tokens are never revoked or overwritten (a prompt's tail, a scaffold).
MASK, INJECTED, DECODED, FIXED = 0, 1, 2, 3
SOURCES = ("mask", "injected", "decoded", "fixed")


@dataclass(frozen=True)
class Question:
    """One question as the decoder sees it.

    `id` keys the random draws. `prompt` and `proposal` are token ids in the backbone's vocabulary; `proposal` is already cut to the
    canvas. An empty proposal is a cold start. `trust` has a value in [0, 1] for every proposal token, or is empty where nobody asked for
    any: the smallest probability its author gave to what lies under the token, not calibrated (proposer.proposal.Encoded). The first
    `written` proposal tokens are its author's text; what follows them, if anything, is end-of-text.
    """

    id: str
    prompt: tuple[int, ...]
    proposal: tuple[int, ...] = ()
    trust: tuple[float, ...] = ()
    written: int = 0


@dataclass
class Start:
    """What an init makes of one question: response-aligned [L] tensors.

    `injected` (bool) positions receive `tokens` as visible, revocable tokens. `soft` (bool) positions stay masked and are fed a mix of
    the mask's and `tokens`' embeddings for as long as the init says.
    """

    tokens: Tensor
    injected: Tensor
    soft: Tensor


@dataclass
class Canvas:
    """The state of a batch of unfinished questions."""

    questions: list[Question]
    ids: Tensor  # [B, L] long
    source: Tensor  # [B, L] int8, one of SOURCES
    committed_at: Tensor  # [B, L] int32, forward index of the last commit; -1 for injected and masked
    confidence: Tensor  # [B, L] float64, probability with which the token was committed; NaN for what no forward committed
    prior: Tensor  # [B, L] long, the proposal's tokens where `soft`
    soft: Tensor  # [B, L] bool
    forwards: Tensor  # [B] long, forwards run for the question so far (its iteration index n)
    block: Tensor  # [B] long, index of the current block
    visits: Tensor  # [B] long, forwards run in the current block (the k of Eq. 11)
    mask_id: int
    block_length: int
    revocations: dict[str, list[tuple[int, int, int, str, int]]] = field(default_factory=dict)

    @classmethod
    def build(cls, questions: list[Question], starts: list[Start], mask_id: int, block_length: int, device: torch.device) -> Canvas:
        tokens = torch.stack([s.tokens for s in starts]).to(device)
        injected = torch.stack([s.injected for s in starts]).to(device)
        soft = torch.stack([s.soft for s in starts]).to(device)
        rows = torch.zeros(len(questions), dtype=torch.long, device=device)
        return cls(
            questions=list(questions),
            ids=torch.where(injected, tokens, mask_id),
            source=torch.where(injected, INJECTED, MASK).to(torch.int8),
            committed_at=torch.full(tokens.shape, -1, dtype=torch.int32, device=device),
            confidence=torch.full(tokens.shape, torch.nan, dtype=torch.float64, device=device),
            prior=tokens,
            soft=soft & ~injected,
            forwards=rows.clone(),
            block=rows.clone(),
            visits=rows.clone(),
            mask_id=mask_id,
            block_length=block_length,
        )

    @property
    def masked(self) -> Tensor:
        """[B, L] bool."""
        return self.ids == self.mask_id

    @property
    def window(self) -> Tensor:
        """[B, W] response positions of each row's current block."""
        return self.block[:, None] * self.block_length + torch.arange(self.block_length, device=self.ids.device)

    def apply(self, positions: Tensor, tokens: Tensor, confidence: Tensor, commit: Tensor, revoke: Tensor) -> None:
        """The only edit of a canvas: write `tokens` where `commit`, put the mask back where `revoke`, and count one forward.

        All arguments are [B, W], `confidence` is that of `tokens`; `commit` must be masked positions, `revoke`
        visible revocable ones (asserted, not repaired).
        """
        before, origin = self.ids.gather(1, positions), self.source.gather(1, positions)
        hidden = before == self.mask_id
        assert not (commit & ~hidden).any() and not (revoke & (hidden | (origin == FIXED))).any()
        assert not (commit & (tokens == self.mask_id)).any()
        if revoke.any():
            self._record(positions, before, origin, revoke)
        after = torch.where(commit, tokens, torch.where(revoke, self.mask_id, before))
        now = self.forwards[:, None].to(torch.int32).expand_as(positions)
        stamp = torch.where(commit, now, torch.where(revoke, -1, self.committed_at.gather(1, positions)))
        sure = torch.where(commit, confidence, torch.where(revoke, torch.nan, self.confidence.gather(1, positions)))
        origin = torch.where(commit, DECODED, torch.where(revoke, MASK, origin)).to(torch.int8)
        self.ids.scatter_(1, positions, after)
        self.source.scatter_(1, positions, origin)
        self.committed_at.scatter_(1, positions, stamp)
        self.confidence.scatter_(1, positions, sure)
        self.forwards += 1
        self.visits += 1

    def _record(self, positions: Tensor, ids: Tensor, origin: Tensor, revoke: Tensor) -> None:
        """Revocations are rare events: (iteration, position, token, its source, when it had been committed)."""
        stamps = self.committed_at.gather(1, positions)
        for row, column in revoke.nonzero().tolist():
            event = (
                int(self.forwards[row]),
                int(positions[row, column]),
                int(ids[row, column]),
                SOURCES[int(origin[row, column])],
                int(stamps[row, column]),
            )
            self.revocations.setdefault(self.questions[row].id, []).append(event)

    def keep(self, rows: Tensor) -> None:
        """Drop finished questions. rows: [B'] long, the ones that stay."""
        chosen = rows.tolist()
        self.questions = [self.questions[i] for i in chosen]
        for name in ("ids", "source", "committed_at", "confidence", "prior", "soft", "forwards", "block", "visits"):
            setattr(self, name, getattr(self, name)[rows])
