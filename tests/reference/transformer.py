"""LLaDA's forward for one sequence, in float64 NumPy, from a state dict with the published key names.

Slow and plain on purpose: one sequence, one head and one rotated pair of coordinates at a time, no fused kernel, no
batch, no padding. It shares no code with the package. Sources: LLaDA (arXiv 2502.09992; the key names of its published
checkpoint), RMSNorm (1910.07467), rotary embeddings (2104.09864) in the rotate-half convention, SwiGLU (2002.05202),
grouped queries (2305.13245).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PREFIX = "model.transformer."
# Layer -> keys (not rotated) and values of all positions of the sequence, [N, H·D] each.
Kept = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Sizes:
    """What a state dict does not tell: head counts, the rotary base, the norm's epsilon, and how many positions see
    each other and nothing behind them (0: all see all)."""

    n_heads: int
    n_kv_heads: int
    rope_theta: float = 500_000.0
    eps: float = 1e-5
    attention_block: int = 0


class ReferenceTransformer:
    """state: key -> float64 array, e.g. `model.transformer.blocks.0.q_proj.weight` of shape [out, in]; biases and the
    head are optional."""

    def __init__(self, state: dict[str, np.ndarray], sizes: Sizes):
        self.state = {key: np.asarray(value, dtype=np.float64) for key, value in state.items()}
        self.sizes = sizes
        self.n_layers = len({key.split(".")[3] for key in state if key.startswith(PREFIX + "blocks.")})

    def _linear(self, name: str, x: np.ndarray) -> np.ndarray:
        """x [T, in] -> [T, out], with the bias if the state dict has one."""
        y = x @ self.state[f"{PREFIX}{name}.weight"].T
        bias = self.state.get(f"{PREFIX}{name}.bias")
        return y if bias is None else y + bias

    def _norm(self, name: str, x: np.ndarray) -> np.ndarray:
        """x [T, d] / rms(x) * weight."""
        rms = np.sqrt((x**2).mean(axis=1, keepdims=True) + self.sizes.eps)
        return x / rms * self.state[f"{PREFIX}{name}.weight"]

    def _rotate(self, x: np.ndarray, first: int = 0) -> np.ndarray:
        """x [T, D], position first + t in row t: the pair (x_j, x_{j+D/2}) turns by the angle position·θ^(-2j/D)."""
        half = x.shape[1] // 2
        out = np.empty_like(x)
        t = first + np.arange(x.shape[0])
        for j in range(half):
            angle = t * self.sizes.rope_theta ** (-2 * j / x.shape[1])
            a, b = x[:, j], x[:, j + half]
            out[:, j] = a * np.cos(angle) - b * np.sin(angle)
            out[:, j + half] = b * np.cos(angle) + a * np.sin(angle)
        return out

    def _attention(self, layer: str, x: np.ndarray, first: int, kept: Kept) -> np.ndarray:
        """x [T, d] -> [T, d]: every position looks at every position that it may see, one head at a time."""
        size = x.shape[1] // self.sizes.n_heads
        q, k, v = (self._linear(f"{layer}.{name}", x) for name in ("q_proj", "k_proj", "v_proj"))
        if layer in kept:
            k, v = (
                np.concatenate((old[:first], new, old[first + len(x) :]))
                for old, new in zip(kept[layer], (k, v), strict=True)
            )
        kept[layer] = (k, v)
        group = self.sizes.n_heads // self.sizes.n_kv_heads
        keys = [self._rotate(k[:, h * size : (h + 1) * size]) for h in range(self.sizes.n_kv_heads)]
        values = [v[:, h * size : (h + 1) * size] for h in range(self.sizes.n_kv_heads)]
        heads = []
        for h in range(self.sizes.n_heads):
            query = self._rotate(q[:, h * size : (h + 1) * size], first)
            scores = query @ keys[h // group].T / np.sqrt(size)
            if block := self.sizes.attention_block:
                for t in range(len(x)):
                    scores[t, [j for j in range(len(k)) if j // block > (first + t) // block]] = -np.inf
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            heads.append(weights / weights.sum(axis=1, keepdims=True) @ values[h // group])
        return self._linear(f"{layer}.attn_out", np.concatenate(heads, axis=1))

    def embed(self, ids: list[int]) -> np.ndarray:
        """[T] ids -> [T, d] input embeddings."""
        return self.state[PREFIX + "wte.weight"][np.asarray(ids, dtype=np.int64)]

    def hidden(self, embeddings: np.ndarray, first: int = 0, kept: Kept | None = None) -> np.ndarray:
        """[T, d] input embeddings of the positions first … first+T-1 -> [T, d] hidden states after the final norm.

        kept: if it holds anything, the other positions' keys and values; these positions' own are written over it.
        """
        kept = {} if kept is None else kept
        x = np.asarray(embeddings, dtype=np.float64)
        for n in range(self.n_layers):
            layer = f"blocks.{n}"
            x = x + self._attention(layer, self._norm(f"{layer}.attn_norm", x), first, kept)
            h = self._norm(f"{layer}.ff_norm", x)
            gate = self._linear(f"{layer}.ff_proj", h)
            x = x + self._linear(f"{layer}.ff_out", gate / (1 + np.exp(-gate)) * self._linear(f"{layer}.up_proj", h))
        return self._norm("ln_f", x)

    def logits(self, embeddings: np.ndarray, first: int = 0, kept: Kept | None = None) -> np.ndarray:
        """As `hidden`, [T, embedding_size]; a state dict without a head has it tied to the embedding table."""
        hidden = self.hidden(embeddings, first, kept)
        if PREFIX + "ff_out.weight" in self.state:
            return self._linear("ff_out", hidden)
        return hidden @ self.state[PREFIX + "wte.weight"].T
