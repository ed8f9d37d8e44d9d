"""One question, one answer."""

from __future__ import annotations

from dataclasses import dataclass

from warmexp.decode.strategy import Ensemble


@dataclass
class NoEnsemble(Ensemble):
    """Every question is decoded once."""
