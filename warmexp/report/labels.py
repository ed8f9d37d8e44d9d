"""Small labels beside marks, so that none covers a mark or another label: a greedy search over positions around each
mark.

A label for which every position is taken is left out: an unreadable one says less. Knows nothing about runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

FONT_SIZE = 7.0
_MARK = 4.5  # half the side of a mark's box, points (1/72 inch)
# Directions tried in this order of preference, and the gaps between mark and label, points.
_DIRECTIONS = ((1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1))
_GAPS = (2.0, 6.0, 11.0)

Segment = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Label:
    """Text for the mark at (x, y), data coordinates."""

    x: float
    y: float
    text: str
    colour: str


def place(axes: Axes, labels: Sequence[Label], marks: Sequence[tuple[float, float]], lines: Sequence[Segment]) -> int:
    """Draw the labels, the first ones having the first choice of room. The layout of the figure must be settled.

    Args:
        axes: whose limits no longer change.
        labels: in order of importance.
        marks: every mark's (x, y), data coordinates; no label covers one.
        lines: segments in data coordinates that a label should rather not cross.
    Returns:
        how many labels were drawn.
    """
    scale = axes.figure.dpi / 72
    to_pixels = axes.transData.transform
    boxes = [_around(x, y, _MARK * scale) for x, y in (to_pixels(mark) for mark in marks)]
    samples = (
        np.concatenate([_along(to_pixels(start), to_pixels(end)) for start, end in lines])
        if lines
        else np.empty((0, 2))
    )
    drawn = 0
    for label in labels:
        text = axes.text(
            label.x, label.y, label.text, fontsize=FONT_SIZE, color=label.colour, ha="left", va="bottom", zorder=6
        )
        text.set_in_layout(False)
        text.set_path_effects([withStroke(linewidth=2, foreground="white")])
        size = text.get_window_extent()
        best, best_cost = None, np.inf
        for index, (dx, dy, gap) in enumerate((dx, dy, gap) for gap in _GAPS for dx, dy in _DIRECTIONS):
            box = _beside(to_pixels((label.x, label.y)), size.width, size.height, dx, dy, (_MARK + gap) * scale)
            if not _inside(box, axes.bbox) or any(box.overlaps(other) for other in boxes):
                continue
            crossed = ((samples >= box.min) & (samples <= box.max)).all(axis=1).sum() / scale
            if (cost := index + crossed) < best_cost:
                best, best_cost = box, cost
        if best is None:
            text.remove()
            continue
        text.set_position(axes.transData.inverted().transform(best.min))
        boxes.append(best)
        drawn += 1
    return drawn


def _beside(mark: np.ndarray, width: float, height: float, dx: int, dy: int, distance: float) -> Bbox:
    """The label's box on one side of a mark; diagonal ones sit a little closer."""
    reach = distance if 0 in (dx, dy) else 0.6 * distance
    x = mark[0] + dx * reach + (0 if dx > 0 else -width if dx < 0 else -width / 2)
    y = mark[1] + dy * reach + (0 if dy > 0 else -height if dy < 0 else -height / 2)
    return Bbox.from_bounds(x, y, width, height)


def _around(x: float, y: float, half: float) -> Bbox:
    return Bbox.from_extents(x - half, y - half, x + half, y + half)


def _inside(box: Bbox, frame: Bbox) -> bool:
    return bool((box.min >= frame.min).all() and (box.max <= frame.max).all())


def _along(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Points every four pixels of a segment, [m, 2]."""
    steps = max(2, int(np.hypot(*(end - start)) / 4))
    return start + np.linspace(0, 1, steps)[:, None] * (end - start)
