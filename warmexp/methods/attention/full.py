"""Every position attends to every position."""

from __future__ import annotations

from dataclasses import dataclass

from warmexp.decode.strategy import Attention


@dataclass
class FullAttention(Attention):
    """Nothing is left out."""
