"""Running confidence remasking: the masks that are left are wherever confidence is lowest (MDPO, arXiv 2508.13148)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.reading import Reading, ranks
from warmexp.decode.strategy import Remask
from warmexp.decode.view import View
from warmexp.errors import check_choice
from warmexp.methods.remask.bernoulli import SCOPES


@dataclass
class RCR(Remask):
    """Where m positions are masked and n of them are committed, the m - n masks that are left stand where running
    confidence is lowest.

    Running confidence is, of a masked position, c_i now; of a decoded token, that of its commit; of an injected one,
    its author's trust. A visible token among the lowest m - n is revoked, and a masked position that is not among them
    is committed in its place, in the same forward. So each forward leaves as many masks as without remasking, and costs
    none. Published with LLaDA's quota (unmask=topk), in the words: fill everything, keep the most confident. Equal
    confidences go by position, the first is revoked first. The released code also takes tokens of blocks that are
    finished; here a window's tokens compete with each other (with length.block_length = length.canvas_length there is
    no difference), and its quota rounds otherwise where steps do not divide a window. It keeps running confidence in 32
    bits.

    scope: which visible tokens compete, as in remask=linear; others stay.
    """

    scope: str = "all"

    def __post_init__(self) -> None:
        check_choice("remask.scope", self.scope, SCOPES)

    def lowest(self, view: View, reading: Reading, commit: np.ndarray) -> np.ndarray:
        """[n, W] bool, where the masks will be."""
        running = np.where(view.masked & ~commit, reading.confidence, np.where(view.revocable, view.backing, np.inf))
        left = (view.masked & ~commit).sum(1)
        return ranks(running) < left[:, None]

    def select(self, view: View, reading: Reading, commit: np.ndarray) -> np.ndarray:
        return view.revocable & self.lowest(view, reading, commit)

    def further(self, view: View, reading: Reading, commit: np.ndarray) -> np.ndarray:
        return view.masked & ~commit & ~self.lowest(view, reading, commit)
