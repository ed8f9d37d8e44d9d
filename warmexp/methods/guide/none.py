"""No guide."""

from __future__ import annotations

from dataclasses import dataclass

from warmexp.decode.strategy import Guide


@dataclass
class NoGuide(Guide):
    """Nobody is consulted."""
