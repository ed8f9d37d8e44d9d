"""SMDM's forward for one sequence, in float64 NumPy, from a state dict with the published key names and lit-gpt's
config fields.

One position and one head at a time; it shares no code with the package nor with the other references. Sources: SMDM
(arXiv 2410.18514), lit-gpt's layout of the fused projection (for each key head: its queries, its key, its value),
RMSNorm (1910.07467), rotary embeddings (2104.09864) in halves with base 10,000, SwiGLU (2002.05202).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def bfloat16(x: float) -> float:
    """The nearest number with eight significant binary digits; the even one of two."""
    fraction, exponent = math.frexp(x)
    return math.ldexp(round(fraction * 256), exponent - 8)


class ReferenceSmdm:
    """state: published key -> array. config: lit-gpt's fields."""

    def __init__(self, state: dict[str, np.ndarray], config: dict[str, Any]):
        self.state = {key: np.asarray(value, dtype=np.float64) for key, value in state.items()}
        self.config = config
        self.size = config["n_embd"] // config["n_head"]

    def logits(self, ids: list[int]) -> np.ndarray:
        """[T] -> [T, padded vocabulary]: the mask has no logit."""
        x = [self.state["transformer.wte.weight"][i] for i in ids]
        for n in range(self.config["n_layer"]):
            at = f"transformer.h.{n}."
            attended = self._attention(at, [self._norm(f"{at}norm_1", h) for h in x])
            x = [h + more for h, more in zip(x, attended, strict=True)]
            x = [h + self._forwarded(at, self._norm(f"{at}norm_2", h)) for h in x]
        return np.stack([self.state["lm_head.weight"] @ self._norm("transformer.ln_f", h) for h in x])

    def _norm(self, name: str, h: np.ndarray) -> np.ndarray:
        return h / math.sqrt(np.mean(h**2) + self.config["norm_eps"]) * self.state[f"{name}.weight"]

    def _forwarded(self, at: str, h: np.ndarray) -> np.ndarray:
        gate, up, down = (self.state[f"{at}mlp.swiglu.w{i}.weight"] for i in (1, 2, 3))
        z = gate @ h
        return down @ (z / (1 + np.exp(-z)) * (up @ h))

    def _turned(self, v: np.ndarray, position: int) -> np.ndarray:
        """[D]: numbers j and j + D/2 are the coordinates of a plane that turns by position · 10000^(-2j/D), whose
        cosine and sine are rounded."""
        out, half = np.empty_like(v), len(v) // 2
        for j in range(half):
            angle = position * 10000.0 ** (-2 * j / len(v))
            cos, sin = bfloat16(math.cos(angle)), bfloat16(math.sin(angle))
            out[j] = v[j] * cos - v[j + half] * sin
            out[j + half] = v[j + half] * cos + v[j] * sin
        return out

    def _attention(self, at: str, x: list[np.ndarray]) -> list[np.ndarray]:
        queries_of_a_key = self.config["n_head"] // self.config["n_query_groups"]
        fused = [self.state[f"{at}attn.attn.weight"] @ h for h in x]
        mixed: list[list[np.ndarray]] = [[] for _ in x]
        for g in range(self.config["n_query_groups"]):
            first = g * (queries_of_a_key + 2)  # of this group's vectors
            vectors = [[f[(first + i) * self.size : (first + i + 1) * self.size] for f in fused]
                       for i in range(queries_of_a_key + 2)]  # fmt: skip
            *queries, keys, values = vectors
            keys = [self._turned(k, t) for t, k in enumerate(keys)]
            for query in queries:
                for t, q in enumerate(query):
                    scores = np.array([self._turned(q, t) @ k for k in keys]) / math.sqrt(self.size)
                    weights = np.exp(scores - scores.max())
                    mixed[t].append(sum(w * v for w, v in zip(weights / weights.sum(), values, strict=True)))
        return [self.state[f"{at}attn.proj.weight"] @ np.concatenate(heads) for heads in mixed]
