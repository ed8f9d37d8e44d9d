"""Dream's forward for one sequence, in float64 NumPy, from a state dict with the published (Qwen2's) key names.

Written from the description: Qwen2 (arXiv 2407.10671: pre-norm blocks, RMSNorm, SwiGLU, rotary positions, grouped
queries, biases on queries, keys and values only) with every position attending to every position (Dream, arXiv
2508.15487). It shares no code with the package nor with the other reference: rotations are products of complex numbers,
and attention is written per query.
"""

from __future__ import annotations

import numpy as np


class ReferenceQwen2:
    """state: key -> array, e.g. `model.layers.0.self_attn.q_proj.weight` of shape [out, in]. Without `lm_head.weight`
    it is tied."""

    def __init__(
        self, state: dict[str, np.ndarray], n_heads: int, n_kv_heads: int, rope_theta: float = 1e6, eps: float = 1e-6
    ):
        self.state = {key: np.asarray(value, dtype=np.float64) for key, value in state.items()}
        self.n_heads, self.n_kv_heads, self.rope_theta, self.eps = n_heads, n_kv_heads, rope_theta, eps
        self.n_layers = 1 + max(int(key.split(".")[2]) for key in state if key.startswith("model.layers."))

    def embed(self, ids: list[int]) -> np.ndarray:
        """[T] ids -> [T, d]."""
        return np.stack([self.state["model.embed_tokens.weight"][i] for i in ids])

    def hidden(self, embeddings: np.ndarray) -> np.ndarray:
        """[T, d] input embeddings -> [T, d] hidden states after the final norm."""
        x = np.array(embeddings, dtype=np.float64)
        for n in range(self.n_layers):
            at = f"model.layers.{n}."
            x += self._attend(at + "self_attn.", self._norm(at + "input_layernorm", x))
            h = self._norm(at + "post_attention_layernorm", x)
            gate = h @ self.state[at + "mlp.gate_proj.weight"].T
            swish = gate * (1 / (1 + np.exp(-gate)))
            x += (swish * (h @ self.state[at + "mlp.up_proj.weight"].T)) @ self.state[at + "mlp.down_proj.weight"].T
        return self._norm("model.norm", x)

    def logits(self, embeddings: np.ndarray) -> np.ndarray:
        """[T, d] input embeddings -> [T, vocab_size]; row i is what hidden state i says, whatever position that is
        about."""
        head = self.state.get("lm_head.weight", self.state["model.embed_tokens.weight"])
        return self.hidden(embeddings) @ head.T

    def _norm(self, name: str, x: np.ndarray) -> np.ndarray:
        return self.state[name + ".weight"] * x / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + self.eps)

    def _project(self, name: str, x: np.ndarray, heads: int) -> np.ndarray:
        """[T, d] -> [heads, T, D], with the bias that these three projections always have."""
        y = x @ self.state[name + ".weight"].T + self.state[name + ".bias"]
        return y.reshape(len(x), heads, -1).transpose(1, 0, 2)

    def _turn(self, x: np.ndarray) -> np.ndarray:
        """[heads, T, D]: coordinates j and j + D/2 are one complex number, turned by t·θ^(-2j/D) at position t."""
        half = x.shape[2] // 2
        z = x[:, :, :half] + 1j * x[:, :, half:]
        speed = self.rope_theta ** (-np.arange(half) / half)
        z = z * np.exp(1j * np.arange(x.shape[1])[:, None] * speed)
        return np.concatenate([z.real, z.imag], axis=2)

    def _attend(self, at: str, x: np.ndarray) -> np.ndarray:
        """[T, d] -> [T, d]."""
        q = self._turn(self._project(at + "q_proj", x, self.n_heads))
        k = self._turn(self._project(at + "k_proj", x, self.n_kv_heads))
        v = self._project(at + "v_proj", x, self.n_kv_heads)
        out = np.empty((len(x), self.n_heads, q.shape[2]))
        for head in range(self.n_heads):
            shared = head * self.n_kv_heads // self.n_heads
            for t in range(len(x)):
                scores = k[shared] @ q[head, t] / q.shape[2] ** 0.5
                weights = np.exp(scores - scores.max())
                out[t, head] = weights @ v[shared] / weights.sum()
        return out.reshape(len(x), -1) @ self.state[at + "o_proj.weight"].T
