"""No cache: every forward computes every position of prompt and canvas."""

from __future__ import annotations

from dataclasses import dataclass

from warmexp.decode.strategy import Cache


@dataclass
class NoCache(Cache):
    """The exact forward."""
