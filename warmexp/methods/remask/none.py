"""No revision: what is visible stays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.reading import Reading
from warmexp.decode.strategy import Remask
from warmexp.decode.view import View


@dataclass
class NoRemask(Remask):
    """Revokes nothing."""

    revises = False

    def select(self, view: View, reading: Reading, commit: np.ndarray) -> np.ndarray:
        return np.zeros_like(view.revocable)
