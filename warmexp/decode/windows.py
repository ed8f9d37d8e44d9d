"""Where every question stands: windows that move on, and what is eligible in them."""

from __future__ import annotations

import numpy as np

from warmexp.decode import checked, checked_rows
from warmexp.decode.canvas import DECODED, FIXED, INJECTED, Canvas
from warmexp.decode.strategy import Setup, Strategies
from warmexp.decode.view import View, frozen
from warmexp.errors import UserError
from warmexp.models.backbone import Backbone

# A remask policy that never stops firing would never finish a window: after this many forwards per position of a window
# the loop stops listening to it (the published rates reach zero long before), and to an unmasking policy that idles.
CAP = 4


def check_steps(key: str, steps: int, setup: Setup) -> None:
    """Raises a UserError where a method plans more forwards for a window than the loop lets it have."""
    width = setup.width
    if steps > CAP * width:
        raise UserError(
            f"{key}={steps} is more than the {CAP * width} forwards that a window of {width} positions may take: choose"
            " fewer steps, or a longer length.block_length."
        )


def advance(canvas: Canvas, s: Strategies, backbone: Backbone, seed: int) -> tuple[View, np.ndarray]:
    """Move the windows; all rows as they stand now, and [B] bool, False for those that are finished.

    A window is done when it holds no mask and the remask policy has had one look at what it may revise there.
    """
    masked, width, rows = canvas.masked, canvas.width, np.arange(len(canvas))
    todo, revocable = masked, None
    if s.remask.revises:
        revocable = s.remask.candidates(canvas.source) & (canvas.source != FIXED) & ~masked
        if revocable.any():
            at = np.arange(canvas.length) - canvas.start[:, None]
            ahead, later = revocable & (at >= 0), at >= width  # no window goes back
            look = later | (canvas.visits == 0)[:, None]
            todo = masked | (ahead & look & s.remask.may_fire(np.zeros_like(canvas.visits))[:, None])
            here = (rows[:, None], canvas.start[:, None] + np.arange(width))
            again = s.remask.again(View(canvas, rows, masked[here], revocable[here], backbone.shift, seed))
            again = checked.array(s.remask, "again", again, (len(rows),), "bool") & (canvas.visits < CAP * width)
            todo |= ahead & ~later & again[:, None]
    start, live = checked_rows.window(
        s.schedule, s.schedule.advance(canvas.start, todo, width), canvas.start, todo, width
    )
    moved = start != canvas.start
    if moved.any():
        canvas.visits = np.where(moved, 0, canvas.visits)
        canvas.start = start
    if s.length.stops:
        ends = np.isin(canvas.ids, backbone.end_ids)
        final = _final(canvas, s)
        live = live & ~checked_rows.finished(s.length, s.length.finished(ends, final), final)
    window = (rows[:, None], canvas.start[:, None] + np.arange(width))
    if revocable is None:
        eligible = np.zeros((len(rows), width), dtype=bool)
    else:
        listens = s.remask.may_fire(canvas.visits) & (canvas.visits < CAP * width)
        eligible = revocable[window] & listens[:, None]
        checked_rows.listened(s.remask, live & ~(masked[window] | eligible).any(1), canvas.questions)
    live = live & ~canvas.ended
    return View(canvas, rows, frozen(masked[window]), frozen(eligible), backbone.shift, seed), live


def _final(canvas: Canvas, s: Strategies) -> np.ndarray:
    """[B, L] bool: nothing can change any more there or before."""
    if s.remask.revises and s.remask.candidates(np.array([INJECTED, DECODED])).any():
        return np.arange(canvas.length) < canvas.start[:, None]  # the windows that have been left
    return canvas.masked.cumsum(1) == 0
