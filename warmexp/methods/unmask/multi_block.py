"""Several blocks in flight: a block is begun before the one before it is finished (d3LLM, arXiv 2601.07568)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.reading import Reading, ranks
from warmexp.decode.strategy import Setup
from warmexp.decode.view import View
from warmexp.errors import UserError, check_range
from warmexp.methods.unmask.entropy import Entropy


@dataclass
class MultiBlock(Entropy):
    """As unmask=entropy among the blocks 1 … b*, b* the first of which less than `share` is decoded; and where that
    takes nothing of the first block with masks, its position of lowest entropy too.

    This is what the released pipeline without a cache comes to: it adds a block when `share` of the last one is
    decoded, and a new one begins at nothing. (It counts one forward more, in which it finds that all is done, where it
    stops early.) share=1 is unmask=entropy with schedule=blocks.

    theta: θ in nats, 0.5 as published. block: in tokens, counted from where the window begins; 32. share: 0.5.
    temperature: as in unmask=threshold.
    """

    block: int = 32
    share: float = 0.5
    symbols = Entropy.symbols | {"share": "share"}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("unmask.block", self.block, 1, 2**20, "the number of positions in a block")
        check_range("unmask.share", self.share, 0, 1, "how much of a block is decoded before the next is begun")

    def check(self, setup: Setup) -> None:
        width = setup.width
        if self.block >= width:
            raise UserError(
                f"unmask.block={self.block} leaves no second block in a window of {width} positions"
                f" ({setup.said('schedule')}), so {setup.said('unmask')} would be unmask=entropy: choose a smaller"
                " unmask.block, or schedule=canvas."
            )

    def begun(self, masked: np.ndarray) -> np.ndarray:
        """[n, W] bool, the positions of blocks 1 … b*. masked: [n, W] bool, what is not decoded."""
        starts = np.arange(0, masked.shape[1], self.block)
        sizes = np.diff(np.append(starts, masked.shape[1]))
        decoded = 1 - np.add.reduceat(masked, starts, axis=1) / sizes
        waits = np.logical_or.accumulate(decoded < self.share, axis=1)
        after = np.pad(waits, ((0, 0), (1, 0)))[:, :-1]  # whether a block before it waits
        return ~np.repeat(after, sizes, axis=1)

    def select(self, view: View, reading: Reading) -> np.ndarray:
        undecided = np.take_along_axis(view.whole("masked"), view.positions, 1)
        nats = np.where(self.begun(undecided), self.nats(view, reading), np.inf)
        chosen = np.isfinite(nats) & ((nats <= self.theta) | (ranks(nats) == 0))
        blocks = np.arange(nats.shape[1]) // self.block
        first = np.isfinite(nats) & (blocks == blocks[view.masked.argmax(1)][:, None])
        left_out = ~(chosen & first).any(1, keepdims=True)
        return chosen | (left_out & first & (ranks(np.where(first, nats, np.inf)) == 0))
