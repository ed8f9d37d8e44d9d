"""Fast-dLLM's prefix cache (arXiv 2505.22618): what stands before the block is computed once per block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from warmexp.decode.rows import Row, Span
from warmexp.decode.strategy import Cache
from warmexp.errors import UserError, check_choice

FIRST = ("refresh", "window")


@dataclass
class PrefixCache(Cache):
    """A block's first forward is a full one, whose keys and values are kept; its other forwards compute the block and what follows it.

    refresh: when there is another full forward. `block`: at each block, as published. k, a number: also k forwards after the last one; 1
        is no cache. `revocation`: also when a token that the last one read has been revoked.
    first_token: how shifted backbones (Dream) read a block's first token, which the hidden state before the block predicts. `refresh`, as
        published: the full forward commits that token and nothing else. `window`: the others compute one position more, on the left, and
        every forward may commit everywhere.
    """

    refresh: Any = "block"
    first_token: str = "refresh"
    keeps = True

    def __post_init__(self) -> None:
        number = isinstance(self.refresh, int) and not isinstance(self.refresh, bool) and self.refresh >= 1
        if not number and self.refresh not in ("block", "revocation"):
            raise UserError(f"cache.refresh={self.refresh} is not block, revocation or a number of forwards from 1.")
        check_choice("cache.first_token", self.first_token, FIRST)

    def span(self, row: Row) -> Span:
        by_full = row.shifted and self.first_token == "refresh" and self.refresh != 1
        first_only = by_full and bool(row.masked[0])
        if first_only or self.outdated(row):
            return Span(0, row.length, first_only)
        return Span(row.start - (row.shifted and not by_full), self.end(row))

    def end(self, row: Row) -> int:
        """Where the window ends."""
        return row.length

    def outdated(self, row: Row) -> bool:
        """Whether what is kept may no longer be used."""
        if row.visits == 0 or self.refresh == "block":
            return row.visits == 0
        return row.revoked if self.refresh == "revocation" else row.age >= self.refresh
