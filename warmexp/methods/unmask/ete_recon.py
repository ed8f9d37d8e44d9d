"""A reconstruction of Explore-Then-Exploit from the principle it is built on (arXiv 2511.21103); not the published
algorithm, whose text and code are not public."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.reading import Reading, ranks
from warmexp.decode.strategy import Setup
from warmexp.decode.view import View
from warmexp.errors import UserError, check_range
from warmexp.methods.unmask.threshold import Threshold


@dataclass
class EteRecon(Threshold):
    """Exploit: commit every c ≥ τ of the first block with masks and of the `ahead` blocks that follow it. Explore:
    where these are fewer than `least`, commit of that first block the `explore` positions of lowest confidence besides.

    Known of the method: a forward that commits sure tokens alone carries few bits, Σ -ln c ≤ -W·ln τ nats, so an answer
    of I nats takes I over that many forwards at least (records have `nats`, of every method); it decodes sure tokens
    across blocks, and commits uncertain ones on purpose, so that what depends on them becomes sure. Ours are: when a
    forward counts as stalled, that the position with the most bits of the current block is explored, and all constants
    but τ. Explored tokens are the most likely to be wrong, and no other branch is tried. End tokens far ahead are often
    sure: a long `ahead` can end answers early.

    tau: τ of exploiting, 0.9. block: in tokens, counted from where the window begins; 32. ahead: blocks, ≥ 0. least: ≥
    0; 0 never explores. explore: positions, ≥ 1. temperature: as in unmask=threshold.
    """

    block: int = 32
    ahead: int = 1
    least: int = 2
    explore: int = 1
    symbols = Threshold.symbols | {"ahead": "ahead", "least": "least", "explore": "explore"}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("unmask.block", self.block, 1, 2**20, "the number of positions in a block")
        check_range("unmask.ahead", self.ahead, 0, 2**20, "the number of blocks that are decoded ahead")
        check_range("unmask.least", self.least, 0, 2**20, "the number of sure tokens below which a forward explores")
        check_range("unmask.explore", self.explore, 1, 2**20, "the number of tokens that are explored")

    def check(self, setup: Setup) -> None:
        width = setup.width
        if self.ahead and self.block >= width:
            raise UserError(
                f"unmask.ahead={self.ahead} has no block ahead: a window has {width} positions"
                f" ({setup.said('schedule')}) and unmask.block={self.block}: choose a smaller unmask.block,"
                " schedule=canvas, or unmask.ahead=0."
            )

    def select(self, view: View, reading: Reading) -> np.ndarray:
        blocks = np.arange(view.masked.shape[1]) // self.block
        beyond = blocks - blocks[view.masked.argmax(1)][:, None]  # how many blocks ahead of the current one
        sure = super().select(view, reading) & (beyond <= self.ahead)
        here = view.masked & (beyond == 0) & ~sure
        stalled = sure.sum(1, keepdims=True) < self.least
        order = ranks(np.where(here, reading.confidence, np.inf))
        best = here & ~sure.any(1, keepdims=True) & (ranks(-np.where(here, reading.confidence, -1.0)) == 0)
        return sure | np.where(stalled, here & (order < self.explore), best)
