"""Inputs between tokens: weighted embeddings at masked positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mixture:
    """What masked positions are fed. token: [n, L, k] int64. weight: [n, L, k] float64 ≥ 0, the share of each token's
    embedding; all 0: the mask alone. mask: [n, L] float64, the mask's share."""

    token: np.ndarray
    weight: np.ndarray
    mask: np.ndarray
