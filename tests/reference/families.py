"""The forwards of SDAR, Fast-dLLM v2, LLaDA-MoE and LLaDA2 for one sequence, in float64 NumPy, from a state dict with
the published key names and the published config.json.

Written from the papers' descriptions and the published names, one position, one head and one expert at a time; it
shares no code with the package nor with the other references. Sources: SDAR (arXiv 2510.06303; Qwen3's decoder,
2505.09388), Fast-dLLM v2 (2509.26328; Qwen2's, 2407.10671), LLaDA-MoE (2509.24389; OLMoE's, 2409.02060), LLaDA2
(2512.15745; DeepSeek-V3's router, 2412.19437).
"""

from __future__ import annotations

from typing import Any

import numpy as np


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def rms(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    """Over the last axis."""
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


class ReferenceFamily:
    """state: published key -> array. config: the published config.json. block: how many positions see each other; 0:
    all."""

    def __init__(self, state: dict[str, np.ndarray], config: dict[str, Any], block: int):
        self.state = {key: np.asarray(value, dtype=np.float64) for key, value in state.items()}
        self.config, self.block = config, block
        self.kind = config["architectures"][0]
        self.heads = config["num_attention_heads"]
        self.kv_heads = config["num_key_value_heads"]
        self.size = config.get("head_dim") or config["hidden_size"] // self.heads
        self.turning = self.size
        if self.kind == "LLaDA2MoeModelLM":
            self.turning = int(self.size * config["partial_rotary_factor"])

    def logits(self, ids: list[int]) -> np.ndarray:
        """[T] -> [T, V]."""
        name = "model.word_embeddings" if self.kind == "LLaDA2MoeModelLM" else "model.embed_tokens"
        table = self.state[f"{name}.weight"]
        x = np.stack([table[i] for i in ids])
        for n in range(self.config["num_hidden_layers"]):
            at = f"model.layers.{n}."
            x = x + self._attention(at, self._norm(f"{at}input_layernorm", x))
            h = self._norm(f"{at}post_attention_layernorm", x)
            x = x + np.stack([self._feed_forward(at, n, position) for position in h])
        return self._norm("model.norm", x) @ self.state.get("lm_head.weight", table).T

    def _norm(self, name: str, x: np.ndarray) -> np.ndarray:
        return rms(x, self.state[f"{name}.weight"], self.config["rms_norm_eps"])

    def _product(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.state[f"{name}.weight"].T + self.state.get(f"{name}.bias", 0.0)

    def _projections(self, at: str, x: np.ndarray) -> list[np.ndarray]:
        """Queries, keys and values, [T, heads, D] each."""
        if self.kind == "LLaDA2MoeModelLM":
            fused = self._product(f"{at}attention.query_key_value", x).reshape(len(x), -1, self.size)
            return np.split(fused, [self.heads, self.heads + self.kv_heads], axis=1)
        return [self._product(f"{at}self_attn.{p}_proj", x).reshape(len(x), -1, self.size) for p in "qkv"]

    def _turned(self, x: np.ndarray) -> np.ndarray:
        """[T, heads, D]: numbers j and j + R/2 of the first R are a complex number that turns with the position."""
        half = self.turning // 2
        z = x[..., :half] + 1j * x[..., half : self.turning]
        speed = float(self.config["rope_theta"]) ** (-np.arange(half) / half)
        z = z * np.exp(1j * np.arange(len(x))[:, None, None] * speed)
        return np.concatenate([z.real, z.imag, x[..., self.turning :]], axis=-1)

    def _attention(self, at: str, x: np.ndarray) -> np.ndarray:
        q, k, v = self._projections(at, x)
        norms = {"LLaDA2MoeModelLM": "attention.{}_layernorm", "SDARForCausalLM": "self_attn.{}_norm"}
        if self.config.get("qk_layernorm"):
            norms["LLaDAMoEModelLM"] = "self_attn.{}_norm"
        if name := norms.get(self.kind):
            words = ("query", "key") if "layernorm" in name else ("q", "k")
            q, k = (self._norm(at + name.format(word), part) for word, part in zip(words, (q, k), strict=True))
        q, k = self._turned(q), self._turned(k)
        mixed = np.empty_like(q)
        for t in range(len(x)):
            until = len(x) if not self.block else min(len(x), (t // self.block + 1) * self.block)
            for head in range(self.heads):
                shared = head // (self.heads // self.kv_heads)
                scores = k[:until, shared] @ q[t, head] / np.sqrt(self.size)
                weights = np.exp(scores - scores.max())
                mixed[t, head] = weights @ v[:until, shared] / weights.sum()
        out = "attention.dense" if self.kind == "LLaDA2MoeModelLM" else "self_attn.o_proj"
        return self._product(at + out, mixed.reshape(len(x), -1))

    def _swiglu(self, at: str, x: np.ndarray) -> np.ndarray:
        return self._product(
            f"{at}.down_proj", silu(self._product(f"{at}.gate_proj", x)) * self._product(f"{at}.up_proj", x)
        )

    def _feed_forward(self, at: str, layer: int, x: np.ndarray) -> np.ndarray:
        """[d] -> [d]."""
        if self.kind == "LLaDAMoEModelLM" and self.config["moe_layer_freq"][layer]:
            said = sum(share * self._swiglu(f"{at}mlp.experts.{e}", x) for e, share in self._softmax_router(at, x))
            return said + (
                self._swiglu(f"{at}shared_expert", x) if self.config["shared_expert_intermediate_size"] else 0
            )
        if self.kind == "LLaDA2MoeModelLM" and layer >= self.config["first_k_dense_replace"]:
            said = sum(share * self._swiglu(f"{at}mlp.experts.{e}", x) for e, share in self._sigmoid_router(at, x))
            return said + (self._swiglu(f"{at}mlp.shared_experts", x) if self.config["num_shared_experts"] else 0)
        return self._swiglu(f"{at}mlp", x)

    def _softmax_router(self, at: str, x: np.ndarray) -> list[tuple[int, float]]:
        z = self.state[f"{at}mlp.gate.weight"] @ x
        p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        return [(e, p[e]) for e in np.argsort(-p)[: self.config["num_experts_per_tok"]]]

    def _sigmoid_router(self, at: str, x: np.ndarray) -> list[tuple[int, float]]:
        """The bias and the groups choose, the scores weigh."""
        score = 1 / (1 + np.exp(-(self.state[f"{at}mlp.gate.weight"] @ x)))
        ranked = score + self.state[f"{at}mlp.gate.expert_bias"]
        groups = np.split(np.arange(len(score)), self.config["n_group"])
        groups.sort(key=lambda group: -np.sort(ranked[group])[-2:].sum())
        allowed = np.concatenate(groups[: self.config["topk_group"]])
        chosen = sorted(allowed, key=lambda e: -ranked[e])[: self.config["num_experts_per_tok"]]
        total = sum(score[e] for e in chosen)
        return [(e, self.config["routed_scaling_factor"] * score[e] / total) for e in chosen]
