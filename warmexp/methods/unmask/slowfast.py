"""SlowFast sampling: look around slowly for a stretch that is ready, then decode that stretch fast (arXiv
2506.10848)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from warmexp.decode.columns import Column
from warmexp.decode.edit import Edit
from warmexp.decode.reading import Reading, ranks
from warmexp.decode.view import View
from warmexp.errors import check_range
from warmexp.methods.unmask.threshold import Threshold


class Cycle(NamedTuple):
    """Where a row's cycle stands after a forward, [n] each: the stretch [begin, end), the estimate before, the slow
    forwards so far, and whether the end is settled. until: where this forward stops committing."""

    begin: np.ndarray
    end: np.ndarray
    last: np.ndarray
    slow: np.ndarray
    settled: np.ndarray
    until: np.ndarray


@dataclass
class SlowFast(Threshold):
    """Cycles from s on, in each forward of which every c ≥ τ of a region is committed, or its best.

    Slow, `looks` forwards in the region [s, W): each estimates e, behind the last position with c ≥ `ready` (s + 1
    without one). When two estimates in a row have a standard deviation below `steady`, e stays; until then it is their
    mean. Fast, in the region [s, e), until it is full. The next cycle begins at e.

    The released code commits several positions only where at least two pass, which is the same rule. Its fast forwards
    but the first drop what stands behind e (with its own cache); here they see it, and NFE is counted alike. Its slow
    phase goes on when nothing is left; here a full window is done. Where a token before s is revoked, s goes back.

    tau: τ, 0.9 (the code; 0.85 in the paper). looks: 6 (8). ready: 0.3 (0.1). steady: 1 position. temperature: as in
    unmask=threshold.
    """

    looks: int = 6
    ready: float = 0.3
    steady: float = 1.0
    symbols = Threshold.symbols | {"looks": "looks", "ready": "ready"}
    columns = {
        "slowfast_begin": Column("row", "int64"),
        "slowfast_end": Column("row", "int64"),
        "slowfast_last": Column("row", "int64"),
        "slowfast_slow": Column("row", "int64"),
        "slowfast_settled": Column("row", "bool"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("unmask.looks", self.looks, 1, 2**20, "the number of slow forwards of a cycle")
        check_range("unmask.ready", self.ready, 0, 1, "the confidence up to whose last position a cycle reaches")
        check_range("unmask.steady", self.steady, 0, 2**20, "a standard deviation in positions")

    def cycle(self, view: View, reading: Reading) -> Cycle:
        masked, width = view.masked, view.masked.shape[1]
        at = np.arange(width)
        new = view.visits == 0  # a window is decoded from its own beginning
        begin, end, last, slow, settled = (np.where(new, 0, view.recall(name)) for name in self.columns)
        settled = settled.astype(bool)
        begin = np.minimum(begin, masked.argmax(1))
        full = ~(masked & (at >= begin[:, None]) & (at < end[:, None])).any(1)
        again = (slow >= self.looks) & full
        begin = np.where(again, end, begin)
        slow, settled = np.where(again, 0, slow), settled & ~again
        slowly = slow < self.looks
        ready = masked & (at >= begin[:, None]) & (reading.confidence >= self.ready)
        estimate = np.where(ready.any(1), width - ready[:, ::-1].argmax(1), np.minimum(begin + 1, width))
        estimating = slowly & ~settled
        stable = (slow > 0) & (np.abs(estimate - last) / 2 < self.steady)
        guess = np.where((slow == 0) | stable, estimate, (estimate + last) // 2)
        end = np.where(estimating, guess, end)
        last = np.where(estimating, estimate, last)
        return Cycle(begin, end, last, slow + slowly, settled | (estimating & stable), np.where(slowly, width, end))

    def select(self, view: View, reading: Reading) -> np.ndarray:
        now, at = self.cycle(view, reading), np.arange(view.masked.shape[1])
        region = view.masked & (at >= now.begin[:, None]) & (at < now.until[:, None])
        confidence = np.where(region, reading.confidence, -1.0)
        return region & ((confidence >= self.tau) | (ranks(-confidence) == 0))

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        return dict(zip(self.columns, self.cycle(view, reading), strict=False))  # but for `until`
