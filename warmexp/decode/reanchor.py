"""Proposals that follow what was decoded: a question that enters a window is asked where its proposal now stands, and
begins anew there.

An anchor (methods/anchor/) moves the proposal, the init makes of it what it makes of any proposal, and what stands
before the window stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from warmexp.decode import checked_rows
from warmexp.decode.batch import Batch
from warmexp.decode.canvas import Question, Start
from warmexp.decode.view import View


def reanchor(batch: Batch, view: View) -> bool:
    """Lay the proposals of questions that enter a window anew; whether there are any, whose rows then no longer stand
    as `view` says.

    The window in which a question begins is not entered: its proposal stands there already.
    """
    if not batch.s.anchor.moves:
        return False
    canvas, start = view.canvas, view.block_start.clip(0)
    entered = canvas.columns.values["entered"]
    entered[:] = np.where(entered < 0, start, entered)
    rows = (start > entered).nonzero()[0].tolist()
    if not rows:
        return False
    asked = [canvas.questions[i] for i in rows]
    given = [int(start[i]) for i in rows]
    decoded = [canvas.ids[i, :first].tolist() for i, first in zip(rows, given, strict=True)]
    anchor = batch.s.anchor
    moved = [
        checked_rows.moved(anchor, anchor.moved(q, d, canvas.width), q, canvas.vocabulary)
        for q, d in zip(asked, decoded, strict=True)
    ]
    starts = _starts(batch, rows, asked, moved, given)
    for i, question, one, first in zip(rows, moved, starts, given, strict=True):
        entered[i] = first
        canvas.place_prior(i, question, one, first)
    batch.charge(rows)
    return True


def _starts(
    batch: Batch, rows: list[int], asked: list[Question], moved: list[Question], given: Sequence[int]
) -> list[Start]:
    """What the init makes of the moved proposals. One that verifies reads each again as often as it may, if it has
    moved (it has been read where it stood); of the others nothing is injected."""
    init, length = batch.s.init, batch.s.length.canvas_length
    starts = batch.starts(moved)
    if not init.verifies:
        return starts
    reread = batch.canvas.columns.values["reread"]
    for n, (row, before, question, first) in enumerate(zip(rows, asked, moved, given, strict=True)):
        stands = question.proposal[first:] == before.proposal[first:]
        if stands or reread[row] >= batch.s.anchor.verify:
            starts[n] = replace(starts[n], injected=np.zeros(length, dtype=bool))
    starts = batch.prepared(moved, starts, given)
    for row, start in zip(rows, starts, strict=True):
        reread[row] += bool(start.forwards)
    return starts
