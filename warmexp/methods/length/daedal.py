"""DAEDAL: a canvas that grows until its end is in sight, and wherever the text needs room (arXiv 2508.00819)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from warmexp.decode.canvas import Move, Question, Size
from warmexp.decode.edit import Edit, Resize
from warmexp.decode.forward import whole_forward
from warmexp.decode.meter import Meter
from warmexp.decode.reading import Reading
from warmexp.decode.view import View
from warmexp.errors import check_range
from warmexp.methods.length.growing import Growing, tail_confidence


@dataclass
class Daedal(Growing):
    """Before the first commit, `step` masks more as long as the tail's end-of-text confidence is below `target`, one
    forward each and one to see that it is reached; then `tail` end tokens that stay. In every forward after that, while
    that confidence is below `ready`, the window's least confident mask, if below `low` and not committed, becomes
    `step` masks.

    The tail's confidence is the sum over the last `look` positions whose most probable token is the end-of-text token,
    others passed over, divided by `look`. Windows stand on the grid of blocks, as published. Published with
    unmask=threshold at τ = 0.9, L₀ = 64, blocks of 32 and at most 2,048 positions. Where room is left for fewer than
    `step` masks the released code cuts the canvas's end off; here fewer appear. target=0 and low=0: a fixed canvas.
    """

    target: float = 0.5
    ready: float = 0.9
    low: float = 0.1
    step: int = 8
    look: int = 32
    tail: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("target", "ready", "low"):
            check_range(f"length.{name}", getattr(self, name), 0, 1, "a probability")
        check_range("length.step", self.step, 1, 2**20, "the number of masks in the place of one")
        check_range("length.look", self.look, 1, 2**20, "the number of positions that a confidence is taken over")
        check_range("length.tail", self.tail, 0, 2**20, "the number of end tokens at the end")

    def prepare(self, meter: Meter, questions: Sequence[Question], canvases: Sequence[np.ndarray]) -> list[Size]:
        begun = np.array([len(canvas) for canvas in canvases])
        extent, forwards = begun.copy(), np.zeros(len(begun), dtype=int)
        moves: list[list[Move]] = [[] for _ in begun]
        asked = np.arange(len(begun)) if self.target > 0 else np.arange(0)
        while len(asked):
            at = asked.tolist()
            found = self._read(meter, [questions[i] for i in at], [canvases[i] for i in at], extent[asked])
            forwards[asked] += 1
            asked = asked[(found < self.target) & (extent[asked] < self.canvas_length)]
            more = np.minimum(self.step, self.canvas_length - extent[asked])
            for i, count in zip(asked.tolist(), more.tolist(), strict=True):
                moves[i].append((int(forwards[i]) - 1, int(extent[i]), count))
            extent[asked] += more
        ends = np.minimum(self.tail, self.canvas_length - extent)
        for i, count in enumerate(ends.tolist()):
            if count and forwards[i]:
                moves[i].append((int(forwards[i]) - 1, int(extent[i]), count))
        sizes = zip(begun.tolist(), (extent + ends).tolist(), ends.tolist(), forwards.tolist(), strict=True)
        return [Size(*one, tuple(made)) for one, made in zip(sizes, moves, strict=True)]

    def _read(
        self, meter: Meter, questions: Sequence[Question], canvases: Sequence[np.ndarray], extent: np.ndarray
    ) -> np.ndarray:
        """[n] float64, the tail's confidence of canvases with masks behind them."""
        mask_id = meter.backbone.mask_id
        ids = np.full((len(canvases), extent.max()), mask_id)
        for row, canvas in zip(ids, canvases, strict=True):
            row[: len(canvas)] = canvas
        inside = np.arange(ids.shape[1]) < extent[:, None]
        request = whole_forward([q.prompt for q in questions], ids, inside, meter.backbone.device, extent)
        asked = np.full(int(inside.sum()), mask_id)
        token, probability = np.full(ids.shape, -1), np.zeros(ids.shape)
        token[inside], probability[inside] = meter.read(request, tuple(q.id for q in questions), asked)
        return tail_confidence(token, probability, meter.backbone.eos_id, self.look)

    def asks(self, view: View) -> np.ndarray | None:
        return np.where(view.whole("inside"), view.canvas.mask_id, -1) if self.low > 0 else None

    def resize(self, view: View, reading: Reading, edit: Edit) -> Resize | None:
        if reading.asked is None:
            return None
        sure = tail_confidence(reading.asked.token, reading.asked.probability, view.canvas.end_id, self.look)
        room = view.canvas.length - view.canvas.extent[view.rows]
        left = np.where(view.masked & ~edit.commit, reading.confidence, np.inf)
        grows = np.flatnonzero((left.min(1) < self.low) & (sure < self.ready) & (room > 0))
        insert = np.zeros((len(view.rows), view.canvas.length + 1), dtype=np.int64)
        insert[grows, view.positions[grows, left[grows].argmin(1)]] = np.minimum(self.step - 1, room[grows])
        return Resize(insert, np.zeros(insert[:, 1:].shape, dtype=bool))
