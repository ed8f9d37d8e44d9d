"""Drafts from the last forward: what it proposed at the positions that it did not commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from warmexp.decode.columns import Column
from warmexp.decode.edit import Edit
from warmexp.decode.lanes import Lanes
from warmexp.decode.reading import Reading
from warmexp.decode.strategy import Draft, Setup
from warmexp.decode.view import View
from warmexp.errors import UserError


@dataclass
class Remembered(Draft):
    """Lays tokens that the last forward of a question has proposed at what is still masked in its window."""

    several = True
    # What was proposed at a position when it was last read, and how probable that was; -1 where nothing has been.
    columns = {
        "drafted": Column(dtype="int64", fill=-1, reset=True),
        "drafted_confidence": Column(fill=-1.0, reset=True),
    }

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        left = view.masked & ~edit.commit
        return {
            "drafted": np.where(left, reading.token, -1),
            "drafted_confidence": np.where(left, reading.confidence, -1.0),
        }

    def order(self, view: View) -> list[np.ndarray]:
        """For each row the positions that can be drafted, the most probable token first."""
        rank, masked = view.recall("drafted_confidence"), view.masked
        return [
            start + chosen[np.argsort(-row[chosen], kind="stable")]
            for start, row, chosen in zip(view.start, rank, map(np.flatnonzero, masked & (rank >= 0)), strict=True)
        ]

    def laid(self, view: View, candidates: list[tuple[int, np.ndarray]]) -> Lanes | None:
        """From rows and the positions that are drafted in each."""
        if not candidates:
            return None
        row = np.array([i for i, _ in candidates], dtype=np.int64)
        where = np.zeros((len(row), view.canvas.length), dtype=bool)
        for lane, (_, positions) in zip(where, candidates, strict=True):
            lane[positions] = True
        return Lanes(row, where, view.whole("drafted")[row], view.whole("drafted_confidence")[row])

    def check(self, setup: Setup) -> None:
        super().check(setup)
        if setup.parts["remask"].revises:
            raise UserError(
                f"{setup.said('draft')} lays tokens on copies of a canvas that only grows and {setup.said('remask')}"
                " takes tokens back: choose remask=none, or draft=none."
            )
