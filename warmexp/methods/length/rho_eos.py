"""ρ-EOS: a canvas that grows and shrinks by the share of its masks that look like its end (arXiv 2601.22527)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from warmexp.decode.columns import Column
from warmexp.decode.edit import Edit, Resize
from warmexp.decode.reading import Reading
from warmexp.decode.view import View
from warmexp.errors import UserError, check_choice, check_range
from warmexp.methods.length.growing import Growing, after, tail_confidence

SIGNALS = ("density", "tail_confidence")
GROWTHS = ("exp", "linear", "const")


@dataclass
class RhoEos(Growing):
    """ρ, the share of all masks whose most probable token is end-of-text, is kept between `low` and `high`: below, K
    masks appear before the first end token, or at the end; above, the canvas loses its last K positions, whatever
    stands there. In the first `moves` forwards, and until the canvas has had its full length.

    K = step · min(8, m), m = 1, s or 2^(s-1) (`growth`: const, linear, exp) for a ρ that lies s-1 to s tenths outside.
    No forward is run for this: the next one reads the canvas as it then is.

    signal: `density`, as above and in the paper and in the code since it was corrected; `tail_confidence`: what the
    first release used under that name, DAEDAL's confidence over the last `look` positions that look like the end, which
    here as there counts the positions that are visible too. Published with unmask=threshold at τ = 0.9, L₀ = 64, blocks
    of 32 and at most 2,048 positions. The released code puts masks before an end token in a block that it does not read
    again, and leaves them there; here they appear no earlier than in the window, and windows stay on the grid of
    blocks; the first release put them at the end. At least one position is left. low=0 and high=1: a fixed canvas.
    """

    signal: str = "density"
    low: float = 0.4
    high: float = 0.6
    step: int = 8
    growth: str = "exp"
    moves: int = 64
    look: int = 32
    # Forwards in which it may have moved positions; whether the canvas has had its full length.
    columns = {"weighed": Column("row", "int64"), "filled": Column("row", "bool")}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("length.signal", self.signal, SIGNALS)
        check_choice("length.growth", self.growth, GROWTHS)
        for name in ("low", "high"):
            check_range(f"length.{name}", getattr(self, name), 0, 1, "a share of the masks")
        if self.low > self.high:
            raise UserError(f"length.low={self.low} is above length.high={self.high}: choose a smaller one.")
        check_range("length.step", self.step, 1, 2**20, "the number of positions that appear or go at least")
        check_range("length.moves", self.moves, 0, 2**20, "the number of forwards that may change the length")
        check_range("length.look", self.look, 1, 2**20, "the number of positions that a confidence is taken over")

    def asks(self, view: View) -> np.ndarray | None:
        where = view.whole("masked") if self.signal == "density" else view.whole("inside")
        return np.where(where & ~self._still(view)[:, None], view.canvas.mask_id, -1)

    def resize(self, view: View, reading: Reading, edit: Edit) -> Resize | None:
        if reading.asked is None:
            return None
        extent, length, end = view.canvas.extent[view.rows], view.canvas.length, view.canvas.end_id
        if self.signal == "density":
            masks = view.whole("masked")
            rho = (masks & (reading.asked.token == end)).sum(1) / np.maximum(1, masks.sum(1))
        else:
            rho = tail_confidence(reading.asked.token, reading.asked.probability, end, self.look)
        still = self._still(view)
        more = np.minimum(self._count(self.low - rho), length - extent) * ~still
        less = np.minimum(self._count(rho - self.high), extent - 1) * ~still
        there = view.whole("inside") & (after(view, reading, edit) == end)
        place = np.maximum(np.where(there.any(1), there.argmax(1), extent), view.start)
        insert = np.zeros((len(extent), length + 1), dtype=np.int64)
        insert[np.arange(len(extent)), np.minimum(place, extent)] = more
        at = np.arange(length)
        return Resize(insert, (at >= (extent - less)[:, None]) & (at < extent[:, None]))

    def _still(self, view: View) -> np.ndarray:
        """[n] bool, whether the length changes no more."""
        full = view.canvas.extent[view.rows] >= view.canvas.length
        return full | view.recall("filled") | (view.recall("weighed") >= self.moves)

    def _count(self, gap: np.ndarray) -> np.ndarray:
        """[n] int64, K for a ρ that is so far outside, 0 inside."""
        # A gap of whole tenths is no more than that, whatever 0.4 - 0.1 is in binary (released: in float32, the same).
        tenths = np.ceil(np.round(gap * 10, 6)).clip(1, 64)
        factor = {"const": np.ones_like(tenths), "linear": tenths, "exp": 2.0 ** (tenths - 1)}[self.growth]
        return np.where(gap > 0, self.step * np.minimum(8, factor), 0).astype(np.int64)

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        filled = view.recall("filled") | (view.canvas.extent[view.rows] >= view.canvas.length)
        return {"weighed": view.recall("weighed") + 1, "filled": filled}
