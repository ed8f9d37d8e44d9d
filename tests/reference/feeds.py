"""Masks that are fed what the last forward thought of them, one position at a time (soft masking, arXiv 2510.17206; the
inputs of latent refinement, 2510.11052; dInfer's soft iteration)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.reference.decoder import softmax
from tests.reference.transformer import ReferenceTransformer

# From a position's distribution and the number of forwards in the window before this one: the mask's share, and the
# tokens with theirs.
Rule = Callable[[np.ndarray, int], tuple[float, dict[int, float]]]


def best(p: np.ndarray, k: int) -> list[int]:
    return sorted(range(len(p)), key=lambda v: (-p[v], v))[:k]


def nats(p: np.ndarray) -> float:
    return float(-sum(x * math.log(x) for x in p if x > 0))


def soft_mask(k: int, scale: float, slope: float, offset: float) -> Rule:
    def rule(p: np.ndarray, visits: int) -> tuple[float, dict[int, float]]:
        share = scale / (1 + math.exp(-slope * (-nats(p) - offset)))
        tokens = best(p, k)
        return 1 - share, {v: share * p[v] / sum(p[u] for u in tokens) for v in tokens}

    return rule


def lrd(k: int, rate: float, mass: float) -> Rule:
    def rule(p: np.ndarray, visits: int) -> tuple[float, dict[int, float]]:
        share = rate * (1 - min(1.0, nats(p) / math.log(len(p) - 1)))
        tokens: list[int] = []
        for v in best(p, k):
            if sum(p[u] for u in tokens) < mass:
                tokens.append(v)
        return 1 - share, {v: share * p[v] / sum(p[u] for u in tokens) for v in tokens}

    return rule


def soft_iteration(k: int, first: float, growth: float, most: float) -> Rule:
    def rule(p: np.ndarray, visits: int) -> tuple[float, dict[int, float]]:
        return 1.0, {v: min(first + growth * visits, most) * p[v] for v in best(p, k)}

    return rule


@dataclass
class Fed:
    ids: list[int | None]
    commit_iteration: list[int]
    confidence: list[float | None]
    nfe: int = 0


def decode_one(
    model: ReferenceTransformer, prompt: tuple[int, ...], length: int, width: int, mask_id: int, shifted: bool, tau: float,
    rule: Rule,
) -> Fed:  # fmt: skip
    made = Fed([None] * length, [-1] * length, [None] * length)
    for block in range(0, length, width):
        said: dict[int, np.ndarray] = {}
        visits = 0
        while None in made.ids[block : block + width]:
            row = [*prompt, *(mask_id if token is None else token for token in made.ids)]
            x = model.embed(row).copy()
            alone = model.embed([mask_id])[0]
            for i, p in said.items():
                if made.ids[i] is None:
                    mask, tokens = rule(p, visits)
                    x[len(prompt) + i] = mask * alone + sum(w * model.embed([v])[0] for v, w in tokens.items())
            first = len(prompt) - shifted
            z = model.logits(x)[first : first + length].copy()
            z[:, mask_id] = -np.inf
            said = {i: softmax(z[i]) for i in range(block, block + width) if made.ids[i] is None}
            passed = [i for i, p in said.items() if p.max() >= tau] or [max(said, key=lambda i: (said[i].max(), -i))]
            for i in passed:
                made.ids[i], made.confidence[i] = int(said[i].argmax()), float(said[i].max())
                made.commit_iteration[i] = made.nfe
            made.nfe += 1
            visits += 1
    return made
