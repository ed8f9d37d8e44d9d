"""Fast-dLLM's prefix cache (arXiv 2505.22618): what stands before the block is computed once per block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from warmexp.decode.columns import Column
from warmexp.decode.edit import Edit
from warmexp.decode.reading import Reading
from warmexp.decode.strategy import Cache
from warmexp.decode.view import Span, View
from warmexp.errors import UserError, check_choice

FIRST = ("refresh", "window")


@dataclass
class PrefixCache(Cache):
    """A block's first forward is a full one, whose keys and values are kept; its other forwards compute the block and
    what follows it.

    refresh: when there is another full forward. `block`: at each block, as published. k, a number: also k forwards
        after the last one; 1 is no cache. `revocation`: also when a token that the last one read has been revoked.
    first_token: how shifted backbones (Dream) read a block's first token, which the hidden state before the block
        predicts. `refresh`, as published: the full forward commits that token and nothing else. `window`: the others
        compute one position more, on the left, and every forward may commit everywhere.
    """

    refresh: Any = "block"
    first_token: str = "refresh"
    keeps = True
    # Forwards since the last full one, itself included; what that one saw visible.
    columns = {"age": Column("row", "int64"), "seen": Column(dtype="bool")}

    def __post_init__(self) -> None:
        number = isinstance(self.refresh, int) and not isinstance(self.refresh, bool) and self.refresh >= 1
        if not number and self.refresh not in ("block", "revocation"):
            raise UserError(f"cache.refresh={self.refresh} is not block, revocation or a number of forwards from 1.")
        check_choice("cache.first_token", self.first_token, FIRST)

    def plan(self, view: View) -> Span:
        by_full = bool(view.shift) and self.first_token == "refresh" and self.refresh != 1
        full = self.outdated(view)
        first_only = view.masked[:, 0] & by_full
        start = view.first - (0 if by_full else view.shift)
        full = full | first_only
        return Span(np.where(full, 0, start), np.where(full, view.row_length, self.end(view)), first_only)

    def end(self, view: View) -> np.ndarray:
        """[n], where the window of computed positions ends."""
        return view.row_length

    def outdated(self, view: View) -> np.ndarray:
        """[n] bool, whether what is kept may no longer be used."""
        if self.refresh == "block":
            return view.visits == 0
        if self.refresh == "revocation":
            return (view.visits == 0) | (view.whole("seen") & view.whole("masked")).any(1)
        return (view.visits == 0) | (view.recall("age") >= self.refresh)

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        if view.full:
            return {"age": np.ones_like(view.rows), "seen": ~view.whole("masked")}
        return {"age": view.recall("age") + 1}
