"""The mask alone."""

from __future__ import annotations

from dataclasses import dataclass

from warmexp.decode.strategy import Feed


@dataclass
class NoFeed(Feed):
    """Masked positions are fed the mask."""
