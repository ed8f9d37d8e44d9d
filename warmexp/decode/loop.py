"""The one decode loop. Every method is a strategy that plugs into it; no strategy has a loop of its own.

    canvas ← init(proposal)                       which tokens are injected, which embeddings are mixed
    while some question is unfinished:
        block    ← the first block that is not done (semi-autoregressive)
        request  ← cache.plan(canvas, block)      which positions are queries
        reading  ← meter.forward(request)         the only forward
        commit   ← unmask(block, reading)         at least one where anything is masked
        revoke   ← remask(block, reading)         never what was committed in this iteration
        canvas.apply(commit, revoke)

Rows are questions. A row has its own block cursor and leaves the batch as soon as it is finished, and nothing in a row depends on its
neighbours, so a question's tokens and NFE are those of batch size 1.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from warmexp.backbone.backbone import Backbone
from warmexp.decode.meter import Meter, QuestionSums
from warmexp.decode.reading import Block, Reading
from warmexp.decode.state import FIXED, SOURCES, Canvas, Question
from warmexp.decode.strategy import Strategies

# A remask policy that never stops firing would never finish a block: after this many forwards per position of a block the loop
# stops listening to it (the published rates reach zero long before).
REMASK_CAP = 4


@dataclass(frozen=True)
class Decoded:
    """A finished canvas and how it came about.

    ids: L token ids, none of them the mask. commit_iteration, source: per position, the forward that committed it (-1: injected) and
    one of SOURCES. confidence: the softmax probability it was committed with, None where no forward
    committed it. revocations: (iteration, position, token, source, iteration of the commit that was undone).
    """

    id: str
    ids: tuple[int, ...]
    commit_iteration: tuple[int, ...]
    source: tuple[str, ...]
    confidence: tuple[float | None, ...]
    revocations: tuple[tuple[int, int, int, str, int], ...]
    cost: QuestionSums
    seconds: float


@torch.inference_mode()
def decode(
    backbone: Backbone, questions: Sequence[Question], strategies: Strategies, seed: int = 0, meter: Meter | None = None
) -> list[Decoded]:
    """Decode a batch of questions to the end.

    Returns:
        one Decoded per question, in the order given. `meter` may be passed in to keep its ledger.
    Raises:
        ValueError: two questions share an id, a prompt is empty, or a proposal holds the mask token.
    """
    _check(questions, backbone.mask_id)
    if not questions:
        return []
    meter = meter or Meter(backbone)
    s = strategies
    starts = [s.init.start(question, s.length.canvas_length, seed) for question in questions]
    canvas = Canvas.build(list(questions), starts, backbone.mask_id, s.length.block_length, backbone.device)
    seconds = {question.id: 0.0 for question in questions}
    finished: dict[str, Decoded] = {}

    while True:
        started = time.perf_counter()
        live = _advance(canvas, s)
        _harvest(canvas, live, finished, seconds)
        if not canvas.questions:
            break
        ids = tuple(question.id for question in canvas.questions)
        block = Block.of(canvas, s.remask.candidates, seed)
        reading = _read(meter, backbone, canvas, block, s, ids)
        commit, revoke = _decide(block, reading, s)
        canvas.apply(block.positions, reading.token, reading.confidence, commit, revoke)
        share = (time.perf_counter() - started) / len(ids)
        for question in ids:
            seconds[question] += share

    sums = meter.sums()
    return [_with_cost(finished[question.id], sums, seconds) for question in questions]


def _check(questions: Sequence[Question], mask_id: int) -> None:
    """Draws, costs and results are keyed by question id; logits are read from the position before the canvas on."""
    if len({question.id for question in questions}) < len(questions):
        raise ValueError("two questions of a batch share an id")
    for question in questions:
        if not question.prompt:
            raise ValueError(f"question {question.id} has an empty prompt")
        if mask_id in question.proposal:
            raise ValueError(f"the proposal of question {question.id} holds the mask token")


def _advance(canvas: Canvas, s: Strategies) -> Tensor:
    """Move each row's cursor over blocks that are done; returns [B] bool, False for finished rows.

    A block is done when it holds no mask and the remask policy has had one look at what was injected there.
    """
    blocks = canvas.ids.shape[1] // canvas.block_length
    masked = canvas.masked.view(len(canvas.questions), blocks, -1).any(-1)
    revocable = (s.remask.candidates(canvas.source) & (canvas.source != FIXED)).view(masked.shape[0], blocks, -1).any(-1)
    index = torch.arange(blocks, device=canvas.ids.device)
    here = canvas.block[:, None]
    unseen = revocable & s.remask.may_fire(torch.zeros_like(canvas.visits))[:, None] & ((index > here) | (canvas.visits == 0)[:, None])
    todo = (masked | unseen) & (index >= here)
    live = todo.any(-1)
    target = torch.where(live, todo.int().argmax(-1), blocks - 1)
    canvas.visits = torch.where(target == canvas.block, canvas.visits, 0)
    canvas.block = target
    return live


def _harvest(canvas: Canvas, live: Tensor, finished: dict[str, Decoded], seconds: dict[str, float]) -> None:
    """Take finished rows out of the batch."""
    if bool(live.all()):
        return
    for row in (~live).nonzero().flatten().tolist():
        question = canvas.questions[row]
        finished[question.id] = Decoded(
            id=question.id,
            ids=tuple(canvas.ids[row].tolist()),
            commit_iteration=tuple(canvas.committed_at[row].tolist()),
            source=tuple(SOURCES[i] for i in canvas.source[row].tolist()),
            confidence=tuple(None if math.isnan(c) else c for c in canvas.confidence[row].tolist()),
            revocations=tuple(canvas.revocations.pop(question.id, ())),
            cost=QuestionSums(),
            seconds=0.0,
        )
    canvas.keep(live.nonzero().flatten())


def _read(meter: Meter, backbone: Backbone, canvas: Canvas, block: Block, s: Strategies, ids: tuple[str, ...]) -> Reading:
    """One forward; only the rows that a decision needs go through the head."""
    needed = block.masked | block.revocable
    request = s.cache.plan(canvas, block.positions, needed)
    weight = s.init.soft_weight(canvas.forwards)
    if weight is not None:
        request.embeddings = _mix(backbone, canvas, request.ids, weight)
    # A forward is a no-op for a question if nothing is masked and nothing can be revoked; the cursor never lets that happen.
    logits = meter.forward(request, ids)
    return Reading.of(logits, needed, block, s.unmask.temperature)


def _mix(backbone: Backbone, canvas: Canvas, ids: Tensor, weight: Tensor) -> Tensor | None:
    """Input embeddings (1-w)·e_M + w·E(x̂) at soft positions that are still masked (Eq. 6). weight: [B] in [0, 1]."""
    active = canvas.soft & canvas.masked & (weight > 0)[:, None]
    if not active.any():
        return None
    embeddings = backbone.embed(ids)
    row, column = active.nonzero(as_tuple=True)
    start = torch.tensor([len(q.prompt) for q in canvas.questions], device=ids.device)
    w = weight[row, None].to(embeddings.dtype)
    mask = backbone.embed(torch.tensor(backbone.mask_id, device=ids.device))
    embeddings[row, start[row] + column] = (1 - w) * mask + w * backbone.embed(canvas.prior[row, column])
    return embeddings


def _decide(block: Block, reading: Reading, s: Strategies) -> tuple[Tensor, Tensor]:
    """What to commit and what to revoke, [B, W] bool each, with the two contracts of the loop enforced."""
    commit = s.unmask.select(block, reading) & block.masked
    # Progress: where a row has something masked and the policy took nothing, the most confident position is committed.
    best = torch.zeros_like(commit).scatter_(1, reading.confidence.argmax(1, keepdim=True), True) & block.masked
    commit = torch.where(commit.any(1, keepdim=True), commit, best)
    listen = s.remask.may_fire(block.visits) & (block.visits < REMASK_CAP * block.positions.shape[1])
    revocable = block.revocable & listen[:, None]
    revoke = s.remask.select(block, reading) & revocable if revocable.any() else torch.zeros_like(commit)
    return commit, revoke


def _with_cost(done: Decoded, sums: dict[str, QuestionSums], seconds: dict[str, float]) -> Decoded:
    return Decoded(**{**vars(done), "cost": sums.get(done.id, QuestionSums()), "seconds": seconds[done.id]})
