"""Slot for slot: a proposal's token belongs to the position that the proposal gave it."""

from __future__ import annotations

from dataclasses import dataclass

from warmexp.decode.strategy import Anchor


@dataclass
class NoAnchor(Anchor):
    """Moves nothing."""
