"""Saber's adaptive acceleration: the threshold is what has been good enough so far (arXiv 2510.18165)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from warmexp.decode.columns import Column
from warmexp.decode.edit import Edit
from warmexp.decode.reading import Reading, ranks
from warmexp.decode.strategy import Unmask
from warmexp.decode.view import View
from warmexp.errors import check_range


@dataclass
class Saber(Unmask):
    """Commit masked i with c_i > τ_t; where they are fewer than n, the n of largest c. τ_t is the mean of the
    confidences with which positions were committed, 1 where none was.

    As released, the mean is over all positions of the canvas that were ever committed, each with its last confidence:
    one that was revoked counts until it is committed again. Tokens that a canvas began with do not count. With
    remask=saber this is the published method; alone it is its first half.

    least: n ≥ 1; 2 as published. temperature: 0 as published.
    """

    least: int = 2
    temperature: float = 0.0
    curve = "least"
    symbols = {"least": "n"}
    columns = {"saber_committed": Column(fill=np.nan)}  # the confidence of a position's last commit

    def __post_init__(self) -> None:
        check_range("unmask.least", self.least, 1, 2**20, "a number of tokens")
        check_range("unmask.temperature", self.temperature, 0, 100, "the sampling temperature")

    def select(self, view: View, reading: Reading) -> np.ndarray:
        known = view.whole("saber_committed")
        count = (~np.isnan(known)).sum(1)
        threshold = np.where(count > 0, np.nansum(known, axis=1) / np.maximum(count, 1), 1.0)
        above = view.masked & (reading.confidence > threshold[:, None])
        best = view.masked & (ranks(-reading.confidence) < self.least)
        return np.where((above.sum(1) < self.least)[:, None], best, above)

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        return {"saber_committed": np.where(edit.commit, reading.confidence, view.recall("saber_committed"))}
