"""Where every question stands: windows that move on, and what is eligible in them."""

from __future__ import annotations

import numpy as np

from warmexp.decode import checked, checked_rows
from warmexp.decode.canvas import DECODED, FIXED, INJECTED, Canvas
from warmexp.decode.strategy import Schedule, Setup, Strategies
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

    The windows of a backbone whose attention ends at blocks (ModelConfig.attention_block) are blocks of its grid, which
    begins with the prompt: on the canvas the first and the last may be shorter. A window of the full width then lies
    where there is room for it, and eligible in it is what belongs to the block.
    """
    masked, width, rows = canvas.masked, canvas.width, np.arange(len(canvas))
    todo, revocable = masked, None
    if s.remask.revises:
        revocable = s.remask.candidates(canvas.source) & (canvas.source != FIXED) & ~masked
        if revocable.any():
            at = np.arange(canvas.length) - canvas.block_start[:, None]
            ahead, later = revocable & (at >= 0), at >= width  # no window goes back
            look = later | (canvas.visits == 0)[:, None]
            todo = masked | (ahead & look & s.remask.may_fire(np.zeros_like(canvas.visits))[:, None])
            here, inside = _window(canvas)
            again = s.remask.again(
                View(canvas, rows, masked[here] & inside, revocable[here] & inside, backbone.shift, seed)
            )
            again = checked.array(s.remask, "again", again, (len(rows),), "bool") & (canvas.visits < CAP * width)
            todo |= ahead & ~later & again[:, None]
    start, live = (_along_the_grid if canvas.attention_block else _moved)(canvas, canvas.block_start, todo, s.schedule)
    moved = start != canvas.block_start
    if moved.any():
        canvas.visits = np.where(moved, 0, canvas.visits)
        canvas.block_start, canvas.start = start, start.clip(0, canvas.length - width)
    if s.length.stops:
        ends = np.isin(canvas.ids, backbone.end_ids)
        final = _final(canvas, s)
        live = live & ~checked_rows.finished(s.length, s.length.finished(ends, final), final)
    window, inside = _window(canvas)
    masked_here = masked[window] & inside
    if revocable is None:
        eligible = np.zeros((len(rows), width), dtype=bool)
    else:
        listens = s.remask.may_fire(canvas.visits) & (canvas.visits < CAP * width)
        eligible = revocable[window] & listens[:, None] & inside
        checked_rows.listened(s.remask, live & ~(masked_here | eligible).any(1), canvas.questions)
    live = live & ~canvas.ended
    return View(canvas, rows, frozen(masked_here), frozen(eligible), backbone.shift, seed), live


def _window(canvas: Canvas) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The windows as indices of [B, W] entries, and [B, W] bool, which of them belong to the blocks."""
    position = canvas.start[:, None] + np.arange(canvas.width)
    column = position - canvas.block_start[:, None]
    return (np.arange(len(canvas))[:, None], position), (column >= 0) & (column < canvas.width)


def _moved(canvas: Canvas, start: np.ndarray, todo: np.ndarray, schedule: Schedule) -> tuple[np.ndarray, np.ndarray]:
    """What the schedule makes of windows that begin at `start`: where they begin now, and whether there is anything
    left to do."""
    return checked_rows.window(schedule, schedule.advance(start, todo, canvas.width), start, todo, canvas.width)


def _along_the_grid(
    canvas: Canvas, start: np.ndarray, todo: np.ndarray, schedule: Schedule
) -> tuple[np.ndarray, np.ndarray]:
    """The same for canvases that are continued to the left and to the right to whole blocks, where there is nothing to
    do."""
    width = canvas.width
    before = canvas.prompt_length % width
    wide = np.zeros((len(canvas), -(-(canvas.length + width - 1) // width) * width), dtype=bool)
    wide[np.arange(len(canvas))[:, None], before[:, None] + np.arange(canvas.length)] = todo
    moved, live = _moved(canvas, start + before, wide, schedule)
    return moved - before, live


def _final(canvas: Canvas, s: Strategies) -> np.ndarray:
    """[B, L] bool: nothing can change any more there or before."""
    if s.remask.revises and s.remask.candidates(np.array([INJECTED, DECODED])).any():
        return np.arange(canvas.length) < canvas.block_start[:, None]  # the windows that have been left
    return canvas.masked.cumsum(1) == 0
