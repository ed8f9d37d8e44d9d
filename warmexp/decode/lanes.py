"""Several candidate canvases of a question in one forward: what a draft lays on them, and which of them it goes on with
(decode/candidates.py)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.canvas import DECODED


@dataclass(frozen=True)
class Lanes:
    """M candidates besides the canvases as they are. row: [M] int64, the rows of the view that they are of. where:
    [M, L] bool, masks on which something is laid. token: [M, L] int64. confidence: [M, L] float64, with which a token
    was proposed, NaN where no forward has. source: of canvas.SOURCES, DECODED or INJECTED. blind: whether they are fed
    masks in the place of their prompts."""

    row: np.ndarray
    where: np.ndarray
    token: np.ndarray
    confidence: np.ndarray
    source: int = DECODED
    blind: bool = False


@dataclass(frozen=True)
class Chosen:
    """row: [n] int64, the candidate of each question, as a row of the view of candidates. confidence: [n, L] float64,
    with which what was laid there counts as committed, where that is known better now; None: as it was laid."""

    row: np.ndarray
    confidence: np.ndarray | None = None


def questions_of(lane: np.ndarray) -> np.ndarray:
    """[n] int64, which question each of n candidates is of, counted from 0. lane: [n] int64, View.lane."""
    return np.cumsum(lane == 0) - 1
