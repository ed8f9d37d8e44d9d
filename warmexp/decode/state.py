"""What is being decoded: questions, their canvases, and the function with which a forward edits them.

All tensors are response-aligned: column j is response position j, whatever the length of a row's prompt. B is the number of unfinished
questions, L the canvas length, W the block length. A position is *masked* iff its id is the mask id; nothing else records it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from warmexp.models.wanted import upload

# Where the token at a position came from. FIXED tokens are never revoked or overwritten (a prompt's tail, a scaffold).
MASK, INJECTED, DECODED, FIXED = 0, 1, 2, 3
SOURCES = ("mask", "injected", "decoded", "fixed")


# (iteration, position, token, its source, iteration of the commit that was undone)
Revocation = tuple[int, int, int, str, int]


@dataclass(frozen=True)
class Question:
    """One question as the decoder sees it.

    `id` keys the random draws. `prompt` and `proposal` are token ids in the backbone's vocabulary; `proposal` is already cut to the
    canvas. An empty proposal is a cold start. `trust` has a value in [0, 1] for every proposal token, or is empty where nobody asked for
    any: the smallest probability its author gave to what lies under the token, calibrated where there is a map (proposer.proposal.Encoded).
    The first `written` proposal tokens are its author's text; what follows them, if anything, is end-of-text. `numeric` says of every
    proposal token whether its text holds a digit, or is empty like `trust`.
    """

    id: str
    prompt: tuple[int, ...]
    proposal: tuple[int, ...] = ()
    trust: tuple[float, ...] = ()
    written: int = 0
    numeric: tuple[bool, ...] = ()


@dataclass
class Start:
    """What an init makes of one question: response-aligned [L] tensors.

    `injected` (bool) positions receive `tokens` as visible, revocable tokens. `soft` (bool) positions stay masked and are fed a mix of
    the mask's and `tokens`' embeddings for as long as the init says; `share` (float64) scales the weight of the latter, None: by 1.
    """

    tokens: Tensor
    injected: Tensor
    soft: Tensor
    share: Tensor | None = None
    forwards: int = 0  # run to make it, by an init that verifies
    score: Tensor | None = None  # [L] float64, what these forwards said of every token then injected, NaN elsewhere


@dataclass
class Canvas:
    """The state of a batch of unfinished questions."""

    questions: list[Question]
    sequence: Tensor  # [B, P + L] long, the prompt and room for the canvas, padded on the right
    place: Tensor  # [B, L] long, the columns of `sequence` in which the canvas stands
    ids: Tensor  # [B, L] long
    source: Tensor  # [B, L] int8, one of SOURCES
    committed_at: (
        Tensor  # [B, L] int32, forward index of the last commit, or after which a token was laid; -1 for what began there, and masks
    )
    confidence: Tensor  # [B, L] float64, probability with which the token was committed; NaN for what no forward committed
    undone: Tensor  # [B, L] long, how often a token was revoked here
    prior: Tensor  # [B, L] long, the proposal's tokens, also where they are neither injected nor `soft`
    soft: Tensor  # [B, L] bool
    share: Tensor  # [B, L] float64, by which the weight of the prior's embedding is scaled
    doubt: Tensor  # [B, L] float64, by which it is scaled too: the backbone's entropy when it last read the position, 1 before that
    trust: Tensor  # [B, L] float64, the author's trust in the proposal's token, NaN where there is none
    forwards: Tensor  # [B] long, forwards run for the question so far (its iteration index n)
    block: Tensor  # [B] long, index of the current block
    visits: Tensor  # [B] long, forwards run in the current block (the k of Eq. 11)
    # What the kept keys and values were computed from, where a cache keeps any.
    read_in: Tensor  # [B] long, the block of the last forward
    age: Tensor  # [B] long, forwards run since the last full one, itself included
    seen: Tensor  # [B, L] bool, visible in the last full forward
    fed: Tensor  # [B, L] float64, the weight of the prior's embeddings in it
    mask_id: int
    block_length: int
    _events: dict[str, list[Revocation]] = field(default_factory=dict)
    _log: list[tuple[list[Question], Tensor]] = field(default_factory=list)  # what _events does not have yet

    @classmethod
    def build(cls, questions: list[Question], starts: list[Start], mask_id: int, block_length: int, device: torch.device) -> Canvas:
        tokens, injected, soft = (_up([getattr(s, name) for s in starts], device) for name in ("tokens", "injected", "soft"))
        rows = torch.zeros(len(questions), dtype=torch.long, device=device)
        length = tokens.shape[1]
        sequence = pad_sequence([torch.tensor([*q.prompt, *[mask_id] * length]) for q in questions], batch_first=True)
        place = torch.tensor([len(q.prompt) for q in questions])[:, None] + torch.arange(length)
        return cls(
            questions=list(questions),
            sequence=upload(sequence.numpy(), device),
            place=upload(place.numpy(), device),
            ids=torch.where(injected, tokens, mask_id),
            source=torch.where(injected, INJECTED, MASK).to(torch.int8),
            committed_at=torch.full(tokens.shape, -1, dtype=torch.int32, device=device),
            confidence=torch.full(tokens.shape, torch.nan, dtype=torch.float64, device=device),
            undone=torch.zeros(tokens.shape, dtype=torch.long, device=device),
            prior=tokens,
            soft=soft & ~injected,
            share=_up([torch.ones(length, dtype=torch.float64) if s.share is None else s.share.double() for s in starts], device),
            doubt=torch.ones(tokens.shape, dtype=torch.float64, device=device),
            trust=_up([_trust(q, length) for q in questions], device),
            forwards=upload(np.array([s.forwards for s in starts]), device),
            block=rows.clone(),
            visits=rows.clone(),
            read_in=rows.clone(),
            age=rows.clone(),
            seen=injected.clone(),
            fed=torch.zeros(tokens.shape, dtype=torch.float64, device=device),
            mask_id=mask_id,
            block_length=block_length,
        )

    @property
    def masked(self) -> Tensor:
        """[B, L] bool."""
        return self.ids == self.mask_id

    @property
    def logged(self) -> list[Tensor]:
        """What is known of revocations on the device alone. They are rare, and stay there until a question leaves."""
        return [entry for _, entry in self._log]

    def revocations(self, logged: list[Tensor]) -> dict[str, list[Revocation]]:
        """All so far, by question id. logged: what `logged` gave, on the host."""
        for (questions, _), entry in zip(self._log, logged, strict=True):
            revoke, *columns = entry.numpy()
            for row, column in zip(*(index.tolist() for index in revoke.nonzero()), strict=True):
                iteration, position, token, source, stamp = (int(values[row, column]) for values in columns)
                event = (iteration, position, token, SOURCES[source], stamp)
                self._events.setdefault(questions[row].id, []).append(event)
        self._log.clear()
        return self._events

    def apply(self, positions: Tensor, tokens: Tensor, confidence: Tensor, commit: Tensor, revoke: Tensor | None) -> None:
        """A forward's edit of a canvas: write `tokens` where `commit`, put the mask back where `revoke`, and count one forward.

        All arguments are [B, W], `confidence` is that of `tokens`; `commit` must be masked positions, `revoke` visible revocable ones
        (asserted, not repaired), or None.
        """
        before, mask = self.ids.gather(1, positions), self.mask_id
        torch._assert_async(~(commit & ((before != mask) | (tokens == mask))).any(), "a commit over a token, or of the mask")
        now = self.forwards[:, None].to(torch.int32)
        written = {"ids": tokens, "source": DECODED, "committed_at": now, "confidence": confidence}
        wiped = {"ids": mask, "source": MASK, "committed_at": -1, "confidence": torch.nan}
        if revoke is not None:
            origin, stamp = self.source.gather(1, positions), self.committed_at.gather(1, positions)
            torch._assert_async(~(revoke & ((before == mask) | (origin == FIXED))).any(), "a revocation of a mask or a fixed token")
            entry = (revoke, now.expand_as(positions), positions, before, origin, stamp)
            self._log.append((self.questions, torch.stack([t.long() for t in entry])))
            self.undone.scatter_add_(1, positions, revoke.long())
        for name, new in written.items():
            field = getattr(self, name)
            old = field.gather(1, positions)
            kept = old if revoke is None else torch.where(revoke, wiped[name], old)
            field.scatter_(1, positions, torch.where(commit, new, kept).to(field.dtype))
        for count in (self.forwards, self.visits, self.age):
            count += 1
        self.read_in = self.block.clone()

    def lay(self, row: int, question: Question, start: Start, first: int) -> None:
        """Begin anew from position `first` of a row on, with the `start` of the `question` whose proposal was moved.

        What an earlier start injected there goes (as a revocation, unless the same token comes back); what was decoded or is fixed stays.
        """
        device, here = self.ids.device, slice(first, None)
        tokens, injected, soft = (upload(t[here].numpy(), device) for t in (start.tokens, start.injected, start.soft))
        before, origin = self.ids[row, here], self.source[row, here]
        free = (origin == MASK) | (origin == INJECTED)
        after = torch.where(free, torch.where(injected, tokens, self.mask_id), before)
        lost = (origin == INJECTED) & (after != before)
        position = torch.arange(first, self.ids.shape[1], device=device)
        stamp, now = self.committed_at[row, here], (self.forwards[row] + start.forwards - 1).to(torch.int32).expand_as(position)
        event = (lost, now, position, before, origin, stamp)
        self._log.append(([question], torch.stack([t.long() for t in event])[:, None]))
        # First: `before` is a view of the ids.
        self.committed_at[row, here] = torch.where(free & injected & (after != before), now, torch.where(lost, -1, stamp))
        self.ids[row, here] = after
        self.source[row, here] = torch.where(free, torch.where(injected, INJECTED, MASK), origin).to(torch.int8)
        self.prior[row, here] = tokens
        self.soft[row, here] = soft & ~injected
        self.share[row, here] = 1.0 if start.share is None else upload(start.share[here].numpy(), device)
        self.trust[row] = upload(_trust(question, self.ids.shape[1]).numpy(), device)
        self.forwards[row] += start.forwards

    def mixture(self, weight: Tensor | None) -> Tensor:
        """[B, L] float64, the prior's share of every position's input embedding. weight: [B] in [0, 1], of each row's prior; None: 0."""
        if weight is None:
            return torch.zeros_like(self.share)
        return torch.where(self.soft & self.masked, weight[:, None] * self.share * self.doubt, 0.0)

    def hear(self, positions: Tensor, doubt: Tensor, read: Tensor) -> None:
        """Keep what the backbone's entropy was, [B, W] in [0, 1], where `read` (bool)."""
        self.doubt.scatter_(1, positions, torch.where(read, doubt, self.doubt.gather(1, positions)))

    def remember(self, mixture: Tensor) -> None:
        """A full forward is about to be applied: what it saw. mixture: [B, L], its prior embeddings."""
        self.age = torch.zeros_like(self.age)
        self.seen = ~self.masked
        self.fed = mixture

    def take(self, rows: list[int]) -> Canvas:
        """The canvas of some rows, a copy."""
        index = upload(np.array(rows, dtype=np.int64), self.ids.device)
        part = {name: getattr(self, name)[index] for name in _ROWS}
        return replace(self, questions=[self.questions[i] for i in rows], **part)

    def put(self, rows: list[int], part: Canvas) -> None:
        """Write what `take` gave back into its rows."""
        index = upload(np.array(rows, dtype=np.int64), self.ids.device)
        for name in _ROWS:
            getattr(self, name)[index] = getattr(part, name)

    def join(self, other: Canvas) -> Canvas:
        """Both, one under the other."""
        width = max(self.sequence.shape[1], other.sequence.shape[1])
        for canvas in (self, other):
            canvas.sequence = pad(canvas.sequence, (0, width - canvas.sequence.shape[1]))
        rows = {name: torch.cat((getattr(self, name), getattr(other, name))) for name in _ROWS}
        return replace(self, questions=self.questions + other.questions, **rows)


# The fields with one entry per row.
_ROWS = [f.name for f in fields(Canvas) if f.type == "Tensor"]


def _up(rows: list[Tensor], device: torch.device) -> Tensor:
    return upload(torch.stack(rows).numpy(), device)


def _trust(question: Question, length: int) -> Tensor:
    """[L] float64: 1 for every proposal token where nobody said anything, NaN behind the proposal."""
    said = (question.trust or (1.0,) * len(question.proposal))[:length]
    return torch.tensor([*said, *[torch.nan] * (length - len(said))], dtype=torch.float64)
