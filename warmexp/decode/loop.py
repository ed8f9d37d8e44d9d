"""The one decode loop. Every method is a strategy that plugs into it; no strategy has a loop of its own.

    while some question is unfinished:
        canvas  ← init(proposal)            of waiting questions, as far as there are places for them
        view    ← schedule(canvas)          where every question's window stands; finished questions leave
        canvas  ← anchor(view)              proposals of questions that enter a window are laid anew, if the method asks
                                            for that
        lanes   ← draft(view)               one canvas per question, or several candidates in one forward
        span    ← cache(view)               which positions are computed; rows that need everything go first, alone
        word    ← meter.forward(span)       the only forward; evidence may change what it says
        reading ← word                      the one read from the device
        view    ← draft(reading)            the candidate that each question goes on with
        edit    ← unmask(view, reading)     at least one commit where anything is masked, unless the method may idle
                + remask(view, reading)     never what was committed in this iteration
        watch(view, sight)                  may record, or finish a question: all its masks are filled at once
        columns ← what strategies remember
        length  ← resize(view, reading)     positions that appear or go
        canvas.apply(edit)                  the only writer; columns that say so begin anew where a token goes

Rows are questions. A row has its own window, and nothing in a row depends on its neighbours, so a question's tokens and
NFE are those of batch size 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from warmexp.decode import checked, checked_lanes, checked_rows
from warmexp.decode.batch import Batch, Decoded
from warmexp.decode.candidates import candidates, chosen
from warmexp.decode.canvas import Question
from warmexp.decode.edit import Edit, Finish
from warmexp.decode.forward import Forward, forward_of
from warmexp.decode.meter import Meter
from warmexp.decode.reading import Asked, Reading, Word
from warmexp.decode.reanchor import reanchor
from warmexp.decode.sight import Outlook, Sight
from warmexp.decode.strategy import Strategies, Strategy
from warmexp.decode.view import Span, View
from warmexp.decode.windows import CAP, advance
from warmexp.models.backbone import Backbone
from warmexp.models.tiles import Attending
from warmexp.models.wanted import upload


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
    backbone: Backbone,
    questions: Iterable[Question],
    s: Strategies,
    seed: int = 0,
    meter: Meter | None = None,
    batch_size: int = 64,
) -> Iterator[Decoded]:
    """Decode any number of questions, `batch_size` of them at a time: each is given out as soon as it is finished, and
    the next one, asked for only then, takes its place. Otherwise as `decode`."""
    batch = Batch(backbone, s, seed, meter or Meter(backbone))
    waiting = iter(questions)
    while True:
        new = list(islice(waiting, batch_size - len(batch)))
        batch.begin()
        batch.admit(new)
        if not len(batch):
            return
        view, live = advance(batch.canvas, s, backbone, seed)
        if not live.all():
            yield from batch.leave(live)
        elif not reanchor(batch, view):
            _step(batch, view)


def _step(batch: Batch, view: View) -> None:
    """One forward of the rows that need everything computed, or of all rows if none does, and the edit that follows
    from it."""
    backbone, s, rows = batch.backbone, batch.s, view.rows
    if s.draft.several and (lanes := checked_lanes.lanes(s.draft, s.draft.lanes(view), view)) is not None:
        view = candidates(view, lanes, s, backbone, batch.seed)
    mixture = s.init.mixture(view)
    if mixture is not None:
        view = view.with_mixture(checked_rows.shares(s.init, "mixture", mixture, (len(view.rows), view.canvas.length)))
    span = checked_rows.span(s.cache, s.cache.plan(view), view)
    anew, ahead = view.anew(span), view.ahead(span)
    first = anew if anew.any() else ahead
    if first.any() and not first.all():
        view, span = view.take(first.nonzero()[0]), span.take(first.nonzero()[0])
        rows = view.rows
    if span.silent is not None and span.silent.any():
        silent = span.silent.nonzero()[0]
        _keep(batch, view.take(silent), span.take(silent))
        return
    view = view.within(span)
    if view.lane is None:
        checked_rows.something_read(s.cache, view)
    request, outlook, asked = _request(batch, view, span)
    # A forward is a no-op for a question if nothing is masked and nothing can be revoked; the window never lets that
    # happen.
    reading, sight = _read(batch, view, request, outlook, asked)
    commit = _commit(s, view, reading)
    if view.lane is not None:
        choice = checked_lanes.choice(s.draft, s.draft.choose(view, reading, commit), view)
        view, reading, commit = chosen(view, choice), reading.take(choice.row), commit[choice.row]
        sight = None if sight is None else sight.take(choice.row)
    edit = _edit(s, view, reading, commit)
    if s.length.resizes:
        edit = replace(edit, resize=checked.resize(s.length, s.length.resize(view, reading, edit), view))
    if sight is not None:
        over = checked.array(s.watch, "finish", s.watch.finish(view, sight), (len(view.rows),), "bool")
        edit = edit.ending(Finish(over, sight.token, sight.confidence))
        view.canvas.note(view.rows, checked.notes(s.watch, s.watch.note(view, sight), view))
    for one in s:
        _remember(one, view, reading, edit)
    view.canvas.apply(edit)
    if view.laid is not None:
        batch.canvas.adopt(view.canvas, view.rows, view.laid)
    batch.charge(rows)


def _request(batch: Batch, view: View, span: Span) -> tuple[Forward, Outlook | None, np.ndarray | None]:
    """What the forward is fed and what is read of it: the windows; besides them, of the whole canvas, what a watcher
    wants (Outlook) and the tokens that a draft or a length asks about, [n, L] int64, -1 where it does not."""
    s, device = batch.s, batch.backbone.device
    unseen = checked.optional(s.remask, "hides", s.remask.hides(view), view.revocable, view, "revocable")
    wanted = checked.wanted(s.watch, s.watch.wanted(view), view) if s.watch.looks else None
    asked = None
    if s.draft.several or s.length.resizes:  # never both
        asker = s.draft if s.draft.several else s.length
        asked = checked_lanes.asked(asker, asker.asks(view), view)
    if asked is not None:
        wanted = asked >= 0 if wanted is None else wanted | (asked >= 0)
    outlook = None if wanted is None else Outlook.of(view, wanted)
    request = forward_of(view, span, batch.kept, device, unseen, outlook)
    if view.mixture is not None:
        prompts = view.canvas.prompt_length[view.rows]
        token, part = s.init.priors(view)
        request.mix(batch.backbone, prompts, token, view.mixture[..., None] * part, match=s.init.norm == "match")
    if s.feed.feeds and (fed := checked.fed(s.feed, s.feed.mixture(view), view)) is not None:
        request.mix(batch.backbone, view.canvas.prompt_length[view.rows], fed.token, fed.weight, fed.mask)
    if s.remask.shadows and view.any_revocable:
        block = (view.first, view.canvas.width) if s.remask.together else None
        hidden = view.revocable[view.at]
        request.hide(hidden if outlook is None else outlook.among_all(hidden), 1 + view.shift, block)
    request.lane = view.lane
    if batch.tiles is not None:
        modes = checked_rows.modes(s.attention, s.attention.plan(view), view)
        prompts = view.canvas.prompt_length[view.rows]
        if modes.any():
            request.attend = Attending(batch.tiles, view.rows, modes, prompts, request.lengths)
    return request, outlook, asked


def _keep(batch: Batch, view: View, span: Span) -> None:
    """A forward over finished blocks, for their keys and values. It reads nothing (but one hidden state in a row, which
    tells whether numbers are finite): no strategy but the cache hears of it, and it is no iteration of the question."""
    view = view.within(span)
    request = forward_of(view, span, batch.kept, batch.backbone.device)
    request.row, request.position = np.arange(len(view.rows)), span.end - 1 + view.shift
    batch.meter.forward(request, view.questions)
    reading = Reading.of(view, np.empty(0, dtype=np.int64), np.empty(0))
    edit = Edit(view.rows, view.positions, view.masked, reading.token, reading.confidence)
    _remember(batch.s.cache, view, reading, edit)
    batch.charge(view.rows)


def _remember(one: Strategy, view: View, reading: Reading, edit: Edit) -> None:
    for name, value in checked.named(one, "remember", one.remember(view, reading, edit), one.columns).items():
        checked.column(one, name, value, one.columns[name], view)
        view.canvas.columns.store(name, view.rows, view.positions, value)


def _read(
    batch: Batch, view: View, request: Forward, outlook: Outlook | None, asked: np.ndarray | None
) -> tuple[Reading, Sight | None]:
    """The only forward, and the one read from the device."""
    meter, s = batch.meter, batch.s
    if not s.reads_logits and outlook is None:
        return Reading.of(view, *meter.read(request, view.questions, view.ids[view.at])), None
    logits = meter.forward(request, view.questions)
    if s.init.rules_out:
        logits.index_fill_(1, upload(np.array(s.init.rules_out, dtype=np.int64), logits.device), -torch.inf)
    seen = Sight.measured(logits) if s.watch.looks and outlook is not None else []
    if asked is not None and outlook is not None:
        seen += outlook.answers(logits, asked, batch.backbone.mask_id)
    if outlook is not None:
        logits = logits[upload(np.flatnonzero(outlook.inner), logits.device)]
    if s.draft.combines and view.lane is not None:
        logits = s.draft.combine(view, logits)
    word = Word.of(logits, view, s.unmask.temperature, s.unmask.drawn_from)
    for evidence in s.evidence:
        if evidence.consults and batch.guided is not None:
            heard = evidence.consult(view, word, batch.guided.asking(view))
        else:
            heard = evidence.weigh(view, word)
        word = checked.word(evidence, heard, word)
    columns, (row, column) = view.canvas.columns, view.at
    measured: dict[str, Tensor] = {}
    if word.accepted is not None:
        measured["accepted"] = word.accepted.long()
    for one in s:
        if one.reads_logits:
            measured |= checked.measured(one, one.measure(view, word), word.logits, measured, columns.declared)
    for name in columns.declared.keys() & measured.keys():
        columns.store(name, view.rows[row], view.positions[row, column], measured.pop(name))
    read = meter.fetch([word.token, word.confidence, *seen, *measured.values()])
    token, confidence, *values = (t.numpy() for t in read)
    said, values = values[: len(seen)], values[len(seen) :]
    if s.evidence:
        checked.heard(s.evidence, token, confidence, view)
    reading = Reading.of(view, token, confidence, dict(zip(measured, values, strict=True)))
    if asked is not None and outlook is not None:
        answers = Asked.of(asked, outlook.at, *said[-2:])
        reading = replace(reading, asked=answers)
    return reading, Sight.of(view, reading, outlook, said[:3]) if s.watch.looks and outlook is not None else None


def _commit(s: Strategies, view: View, reading: Reading) -> np.ndarray:
    """[n, W] bool, which masked positions receive their token."""
    commit = checked.inside(s.unmask, "select", s.unmask.select(view, reading), view.masked, view, "masked")
    # Progress: where a row has something masked and the policy took nothing, the most confident position is committed.
    stuck = view.masked.any(1) & ~commit.any(1)
    if s.unmask.idles:
        stuck &= view.visits >= CAP * view.canvas.width
    if stuck.any():
        commit = commit.copy()
        commit[stuck, reading.confidence[stuck].argmax(1)] = True
    return commit


def _edit(s: Strategies, view: View, reading: Reading, commit: np.ndarray) -> Edit:
    """What to change, with the contracts of the loop enforced."""
    revoke = replace = None
    if view.any_revocable:
        revoke = checked.inside(
            s.remask, "select", s.remask.select(view, reading, commit), view.revocable, view, "revocable"
        )
        replace = checked.replacement(s.remask, s.remask.replace(view, reading, commit), view)
        more = checked.optional(
            s.remask, "further", s.remask.further(view, reading, commit), view.masked, view, "masked"
        )
        commit = commit if more is None else commit | more
    return Edit(view.rows, view.positions, commit, reading.token, reading.confidence, revoke, replace)
