"""Tiny float64 models for the tests, each as the package's Transformer and as its independent counterpart.

Random models have enlarged weights, so that confidences spread over (0, 1) and no two decisions tie. Scripted models
say the same logits whatever they read, so that ties and confidences can be set exactly.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from tests.reference.transformer import PREFIX, ReferenceTransformer, Sizes
from warmexp.models.transformer import ModelConfig, Transformer
from warmexp.models.wanted import Wanted


def published_state(transformer: Transformer) -> dict[str, np.ndarray]:
    """The weights under LLaDA's published key names."""
    return {PREFIX + key: value.detach().double().numpy().copy() for key, value in transformer.state_dict().items()}


def reference_of(transformer: Transformer) -> ReferenceTransformer:
    """The independent model with the same weights."""
    c = transformer.config
    return ReferenceTransformer(
        published_state(transformer), Sizes(c.n_heads, c.n_kv_heads, c.rope_theta, c.rms_norm_eps, c.attention_block)
    )


@lru_cache(maxsize=256)
def random_models(
    seed: int,
    vocab_size: int = 16,
    padded: int = 0,
    n_layers: int = 1,
    n_kv_heads: int = 2,
    qkv_bias: bool = False,
    bias: bool = False,
    tying: bool = False,
    loud_mask: bool = False,
    attention_block: int = 0,
) -> tuple[Transformer, ReferenceTransformer]:
    """A float64 model of width 16 with 4 heads; `padded` extra embedding rows. The mask is token vocab_size - 1, the
    end token 0.

    loud_mask: the mask token's head row is 50 times as long, so the model prefers the mask at about half of the
    positions.
    """
    config = ModelConfig(
        d_model=16,
        n_layers=n_layers,
        n_heads=4,
        n_kv_heads=n_kv_heads,
        mlp_hidden_size=24,
        vocab_size=vocab_size,
        embedding_size=vocab_size + padded,
        max_sequence_length=64,
        mask_token_id=vocab_size - 1,
        eos_token_id=0,
        rope_theta=100.0,
        include_qkv_bias=qkv_bias,
        include_bias=bias,
        weight_tying=tying,
        attention_block=attention_block,
    )
    generator = torch.Generator().manual_seed(seed)
    transformer = Transformer(config).double().eval().requires_grad_(False)
    for name, weight in transformer.state_dict().items():
        weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64))
        if "norm" in name or "ln_f" in name:
            weight.mul_(0.2).add_(1.0)
        elif "proj" in name or "attn_out" in name or "blocks" in name:
            weight.mul_(0.5)
        elif name.startswith("ff_out"):
            weight.mul_(0.7)
    if loud_mask:
        (transformer.wte if tying else transformer.ff_out).weight[config.mask_token_id] *= 50
    return transformer, reference_of(transformer)


class ScriptedTransformer(nn.Module):
    """Sequence position t says table[t], exactly, whatever it reads. table: [T_max, V] finite logits, given out as
    `dtype`."""

    def __init__(self, table: Tensor, dtype: torch.dtype = torch.float64):
        super().__init__()
        self.table = table.to(dtype)
        self.wte = nn.Embedding(table.shape[1], 2).double().requires_grad_(False)

    def embed(self, ids: Tensor) -> Tensor:
        return self.wte(ids)

    def forward(
        self, embeddings: Tensor, attention_mask=None, positions=None, keep=None, wanted: Wanted | None = None
    ) -> Tensor:
        """[B, T, 2] -> [R, 1]: each wanted position's own number."""
        batch, length, _ = embeddings.shape
        states = torch.arange(length, dtype=torch.float64)[None, :, None].expand(batch, length, 1)
        return wanted.states_of(wanted.columns_of(states))

    def head(self, hidden: Tensor) -> Tensor:
        """[..., 1] -> [..., V]."""
        return self.table[hidden[..., 0].long()]


class ScriptedReference:
    """The same for the reference decoder."""

    def __init__(self, table: Tensor):
        self.table = table.double().numpy()

    def embed(self, ids: list[int]) -> np.ndarray:
        return np.zeros((len(ids), 2))

    def logits(self, embeddings: np.ndarray, first: int = 0, kept: dict | None = None) -> np.ndarray:
        return self.table[first : first + len(embeddings)].copy()
