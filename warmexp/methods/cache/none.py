"""No cache: every forward computes every position of prompt and canvas."""

from __future__ import annotations

from dataclasses import dataclass

from warmexp.decode.rows import Row, Span


@dataclass
class NoCache:
    """The exact forward."""

    keeps = False

    def span(self, row: Row) -> Span:
        return Span(0, row.length)
