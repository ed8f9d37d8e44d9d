"""Ranks within rows."""

from __future__ import annotations

import numpy as np


def ranks(values: np.ndarray) -> np.ndarray:
    """[n, W] int64: 0 for the smallest of a row; equal values go by index, the lowest first."""
    order = values.argsort(axis=1, kind="stable")
    made = np.empty_like(order)
    np.put_along_axis(made, order, np.broadcast_to(np.arange(order.shape[1]), order.shape), 1)
    return made
