"""The unmasking policy, one position at a time in NumPy, from the tensors of its file and the sizes in its metadata."""

from __future__ import annotations

import math

import numpy as np


def logit(p: float) -> float:
    p = min(max(p, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))


def described(masked: list[bool], best: list[float], second: list[float], entropy: list[float]) -> list[list[float]]:
    """What the network is told of every position."""
    told = []
    for i, open_ in enumerate(masked):
        before = [j for j in range(i) if masked[j]]
        told.append(
            [
                1.0 if open_ else 0.0,
                logit(best[i]) if open_ else logit(1.0),
                logit(second[i]) if open_ else logit(0.0),
                entropy[i] if open_ else 0.0,
                math.log(1 + len(before)),
                sum(math.log(best[j]) for j in before),
            ]
        )
    return told


def normed(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / math.sqrt(x.var() + 1e-5) * weight + bias


def gelu(x: float) -> float:
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def right(tensors: dict[str, np.ndarray], sizes: dict[str, int], told: list[list[float]]) -> list[float]:
    """The probability of every position that its proposed token is right."""
    w = {name: np.asarray(value, dtype=np.float64) for name, value in tensors.items()}
    h = [w["read.weight"] @ np.array(x) + w["read.bias"] for x in told]
    size = sizes["width"] // sizes["heads"]
    for layer in range(sizes["layers"]):
        b = {name.removeprefix(f"blocks.{layer}."): value for name, value in w.items()}
        qkv = [b["mix.weight"] @ normed(x, b["before.weight"], b["before.bias"]) + b["mix.bias"] for x in h]
        q, k, v = ([x[part * sizes["width"] :][: sizes["width"]] for x in qkv] for part in range(3))
        moved = []
        for i in range(len(h)):
            seen = []
            for head in range(sizes["heads"]):
                own = slice(head * size, (head + 1) * size)
                scores = []
                for j in range(len(h)):
                    apart = min(max(j - i, -sizes["reach"]), sizes["reach"])
                    bias = b["distance"][head, apart + sizes["reach"]]
                    scores.append(float(q[i][own] @ k[j][own]) / math.sqrt(size) + bias)
                weights = [math.exp(s - max(scores)) for s in scores]
                seen.append(sum(p * v[j][own] for j, p in enumerate(weights)) / sum(weights))
            moved.append(h[i] + b["out.weight"] @ np.concatenate(seen) + b["out.bias"])
        h = []
        for x in moved:
            inner = b["up.weight"] @ normed(x, b["between.weight"], b["between.bias"]) + b["up.bias"]
            h.append(x + b["down.weight"] @ np.array([gelu(y) for y in inner]) + b["down.bias"])
    said = [float((w["say.weight"] @ normed(x, w["norm.weight"], w["norm.bias"]) + w["say.bias"])[0]) for x in h]
    return [1 / (1 + math.exp(-(x[1] + y))) for x, y in zip(told, said, strict=True)]
