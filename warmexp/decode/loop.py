"""The one decode loop. Every method is a strategy that plugs into it; no strategy has a loop of its own.

    while some question is unfinished:
        canvas  ← init(proposal)                  of waiting questions, as far as there are places for them
        rows    ← where every question stands     the one read from the device; finished questions leave
        canvas  ← anchor(rows)                    proposals of questions that enter a block are laid anew, if the method asks for that
        spans   ← cache(rows)                     which positions are computed; rows that need everything go first, alone
        reading ← meter.read(spans)               the only forward
        commit  ← unmask(block, reading)          at least one where anything is masked
        revoke  ← remask(block, reading)          never what was committed in this iteration
        canvas.apply(commit, revoke)

Rows are questions. A row has its own block cursor, and nothing in a row depends on its neighbours, so a question's tokens and NFE are
those of batch size 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from warmexp.decode.batch import Batch, Decoded
from warmexp.decode.follow import follow
from warmexp.decode.meter import Meter
from warmexp.decode.reading import Block, Reading
from warmexp.decode.request import forward_of
from warmexp.decode.rows import Row, stand
from warmexp.decode.state import Question
from warmexp.decode.strategy import Strategies
from warmexp.models.backbone import Backbone


def decode(
    backbone: Backbone, questions: Sequence[Question], strategies: Strategies, seed: int = 0, meter: Meter | None = None
) -> list[Decoded]:
    """Decode a batch of questions to the end.

    Returns:
        one Decoded per question, in the order given. `meter` may be passed in to keep its ledger.
    Raises:
        ValueError: two questions share an id, a prompt is empty, or a proposal holds the mask token.
    """
    done = {one.id: one for one in stream(backbone, questions, strategies, seed, meter, max(1, len(questions)))}
    return [done[question.id] for question in questions]


@torch.inference_mode()
def stream(
    backbone: Backbone, questions: Iterable[Question], s: Strategies, seed: int = 0, meter: Meter | None = None, batch_size: int = 64
) -> Iterator[Decoded]:
    """Decode any number of questions, `batch_size` of them at a time: each is given out as soon as it is finished, and the next one, asked
    for only then, takes its place. Otherwise as `decode`."""
    batch = Batch(backbone, s, seed, meter or Meter(backbone))
    waiting = iter(questions)
    while True:
        new = list(islice(waiting, batch_size - len(batch)))
        batch.begin()
        batch.admit(new)
        if not len(batch):
            return
        rows = stand(batch.canvas, s, backbone, batch.meter.fetch)
        batch.charge()  # whoever was worked on last: this is where a GPU is waited for
        if not all(rows):
            yield from batch.leave(rows)
        elif not follow(batch, rows):
            _step(batch, rows)


def _step(batch: Batch, rows: list[Row]) -> None:
    """One forward of the rows that need everything computed, or of all rows if none does, and the edit that follows from it."""
    backbone, s = batch.backbone, batch.s
    spans = [s.cache.span(row) for row in rows]
    full = [i for i, (row, span) in enumerate(zip(rows, spans, strict=True)) if span.covers(row)]
    turn = full or list(range(len(rows)))
    rows, spans = [rows[i] for i in turn], [spans[i] for i in turn]
    canvas = batch.part(turn)
    block = Block.of(canvas, rows, spans, batch.seed)
    mixture = canvas.mixture(s.init.soft_weight(canvas.forwards))
    request = forward_of(canvas, block, rows, spans, batch.kept, turn)
    if any(row.mixed for row in rows):
        request.mix(backbone, canvas, mixture, match=s.init.norm == "match")
    if s.remask.shadows and block.any_revocable:
        request.hide(block.sitting, 1 + backbone.shift)
    # A forward is a no-op for a question if nothing is masked and nothing can be revoked; the cursor never lets that happen.
    if s.reads_logits:
        reading = Reading.of(batch.meter.forward(request, block.questions), block, s.unmask.temperature)
    else:
        reading = Reading.said(batch.meter.read(request, block.questions, block.asked), block)
    reading = s.unmask.adjust(block, reading)
    commit, revoke = _decide(block, reading, s)
    if full:
        canvas.remember(mixture)
    if s.init.by_entropy:
        canvas.hear(block.positions, reading.entropy(block), block.masked)
    canvas.apply(block.positions, reading.token, reading.confidence, commit, revoke)
    batch.put(turn, canvas)


def _decide(block: Block, reading: Reading, s: Strategies) -> tuple[Tensor, Tensor | None]:
    """What to commit and what to revoke, [B, W] bool each, with the two contracts of the loop enforced."""
    commit = s.unmask.select(block, reading) & block.masked
    # Progress: where a row has something masked and the policy took nothing, the most confident position is committed.
    best = torch.zeros_like(commit).scatter_(1, reading.confidence.argmax(1, keepdim=True), True) & block.masked
    commit = torch.where(commit.any(1, keepdim=True), commit, best)
    return commit, s.remask.select(block, reading, commit) & block.revocable if block.any_revocable else None
