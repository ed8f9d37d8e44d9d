"""Proposals that follow what was decoded: a question that enters a block is asked where its proposal now stands, and begins anew there.

An anchor (methods/anchor/) moves the proposal, the init makes of it what it makes of any proposal, and what stands before the block stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from warmexp.decode.batch import Batch
from warmexp.decode.rows import Row
from warmexp.decode.state import Question, Start
from warmexp.decode.verify import verified


def follow(batch: Batch, rows: Sequence[Row]) -> bool:
    """Lay the proposals of questions that enter a block anew; whether there are any, whose rows then no longer stand as `rows` says.

    The block in which a question begins is not entered: its proposal stands there already.
    """
    if not batch.s.anchor.moves:
        return False
    questions = batch.canvas.questions
    firsts = [row.start - len(q.prompt) for row, q in zip(rows, questions, strict=True)]
    entering = [i for i, (q, first) in enumerate(zip(questions, firsts, strict=True)) if first > batch.entered.setdefault(q.id, first)]
    if not entering:
        return False
    asked = [questions[i] for i in entering]
    given = [firsts[i] for i in entering]
    decoded = [rows[i].ids[:first].tolist() for i, first in zip(entering, given, strict=True)]
    moved = [batch.s.anchor.moved(q, d, batch.canvas.block_length) for q, d in zip(asked, decoded, strict=True)]
    for i, question, start, first in zip(entering, moved, _starts(batch, asked, moved, given), given, strict=True):
        batch.entered[question.id] = first
        batch.canvas.lay(i, question, start, first)
    batch.charge(asked)
    return True


def _starts(batch: Batch, asked: list[Question], moved: list[Question], given: list[int]) -> list[Start]:
    """What the init makes of the moved proposals. One that verifies reads each again as often as it may, if it has moved (it has been read
    where it stood); of the others nothing is injected."""
    init, length = batch.s.init, batch.s.length.canvas_length
    starts = [init.start(question, length, batch.seed) for question in moved]
    if not init.verifies:
        return starts
    for n, (before, question, first) in enumerate(zip(asked, moved, given, strict=True)):
        stands = question.proposal[first:] == before.proposal[first:]
        if stands or batch.reread.get(question.id, 0) >= batch.s.anchor.verify:
            starts[n] = replace(starts[n], injected=torch.zeros(length, dtype=torch.bool))
    starts = verified(batch.meter, init, moved, starts, given)
    for question, start in zip(moved, starts, strict=True):
        batch.reread[question.id] = batch.reread.get(question.id, 0) + bool(start.forwards)
    return starts
