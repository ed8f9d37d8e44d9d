"""Symmetric quantization to the nearest, written down from its definition in float64: a number w of a group becomes q·s,
where s = max|w| / (2^(bits-1) - 1/2) over the group and q = round(w / s), cut at the smallest and largest integer."""

from __future__ import annotations

import numpy as np


def integers(x: np.ndarray, bits: int, group: int) -> tuple[np.ndarray, np.ndarray]:
    """[N, K] -> integers [N, K] and scales [N, K / group], for groups of neighbours in a row."""
    parts = np.asarray(x, np.float64).reshape(len(x), -1, group)
    scale = np.abs(parts).max(-1) / (2 ** (bits - 1) - 0.5)
    whole = np.clip(np.rint(parts / scale[..., None]), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return whole.reshape(x.shape), scale


def rounded(x: np.ndarray, bits: int, group: int) -> np.ndarray:
    """What the integers stand for."""
    whole, scale = integers(x, bits, group)
    return whole * scale.repeat(group, 1)


def product(x: np.ndarray, weight: np.ndarray, kind: str, bias: np.ndarray | float = 0.0) -> np.ndarray:
    """x [N, in], weight [out, in] -> [N, out]."""
    if kind == "int4":
        return x @ rounded(weight, 4, 32).T + bias
    if kind == "int8_dynamic":
        x = rounded(x, 8, x.shape[1])
    return x @ rounded(weight, 8, weight.shape[1]).T + bias


def untied(x: np.ndarray, group: int) -> np.ndarray:
    """With the largest number of every group positive. It is at half a step, and would round to either side where it is
    negative; where it is positive the largest integer cuts both off."""
    parts = np.asarray(x).reshape(len(x), -1, group).copy()
    largest = np.take_along_axis(parts, np.abs(parts).argmax(-1, keepdims=True), -1)
    return (parts * np.where(largest < 0, -1, 1)).reshape(x.shape)
