"""Edits are data: what a forward changes on a canvas. Strategies say what they want; `Canvas.apply` is the only one who
writes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Replacement:
    """Visible tokens that are to become others. where: [B, W] bool. token: [B, W] int64. confidence: [B, W] float64, of
    these tokens."""

    where: np.ndarray
    token: np.ndarray
    confidence: np.ndarray


@dataclass(frozen=True)
class Resize:
    """Positions that appear or go, of n canvases. insert: [n, L+1] int64, how many masks appear before each position
    (at the canvas's end: behind it). delete: [n, L] bool, positions that go, whatever stands there."""

    insert: np.ndarray
    delete: np.ndarray


@dataclass(frozen=True)
class Finish:
    """Questions that are over: `rows` [n] bool, in which every mask of the whole canvas becomes `token` [n, L] int64
    with `confidence` [n, L] float64."""

    rows: np.ndarray
    token: np.ndarray
    confidence: np.ndarray


@dataclass(frozen=True)
class Edit:
    """One forward's changes in the windows of n rows of a canvas.

    rows: [n] int64. positions: [n, W] int64. commit: [n, W] bool, masked positions that become `token` [n, W] with
    `confidence` [n, W].
    revoke: [n, W] bool, visible positions that become masked, or None. replace: visible tokens that become others, or
    None. finish: questions that end with this forward, or None. resize: positions that appear or go after all that,
    counted as they stood before, or None.
    """

    rows: np.ndarray
    positions: np.ndarray
    commit: np.ndarray
    token: np.ndarray
    confidence: np.ndarray
    revoke: np.ndarray | None = None
    replace: Replacement | None = None
    finish: Finish | None = None
    resize: Resize | None = None

    def ending(self, finish: Finish) -> Edit:
        """The same, but for the rows that are over: there the masks are filled, and nothing else happens."""
        if not finish.rows.any():
            return self
        on = ~finish.rows[:, None]
        return replace(
            self,
            commit=self.commit & on,
            revoke=None if self.revoke is None else self.revoke & on,
            replace=None if self.replace is None else replace(self.replace, where=self.replace.where & on),
            finish=finish,
        )

    @property
    def lost(self) -> np.ndarray | None:
        """[n, W] bool, where a token goes; None: nowhere."""
        if self.replace is None:
            return self.revoke
        return self.replace.where if self.revoke is None else self.revoke | self.replace.where

    def written(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """[R] each: row, position, token and confidence of what is written."""
        where, token, confidence = self.commit, self.token, self.confidence
        if self.replace is not None:
            where = where | self.replace.where
            token = np.where(self.replace.where, self.replace.token, token)
            confidence = np.where(self.replace.where, self.replace.confidence, confidence)
        i, j = where.nonzero()
        return self.rows[i], self.positions[i, j], token[i, j], confidence[i, j]
