"""The one transformer: a decoder block stack without a causal mask that LLaDA, Dream, SDAR, LLaDA2 and the lab's models
share.

RMSNorm, rotary positions, grouped-query attention, SwiGLU or experts (experts.py). It knows nothing about prompts,
tokenizers or decoding; who sees whom is an attention mask from outside, and which position's hidden state predicts
which token (aligned or shifted logits) is decided by the caller that picks rows for the head.

Sources: LLaDA (arXiv 2502.09992, its published `config.json`), Dream (arXiv 2508.15487), Qwen2 for biases and grouped
queries, Qwen3 for norms of queries and keys, LLaDA2 (arXiv 2512.15745) for rotary positions of a part of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from warmexp.models.experts import Experts, ExpertsConfig
from warmexp.models.linear import FEWEST, ROWS, Linear, packs
from warmexp.models.tiles import Attending
from warmexp.models.wanted import Rotary, Wanted

# Positions by which the kept tables of rotary angles grow.
ROTARY_STEP = 128
# Takes a layer's keys (rotated) and values [B, H, T, D] of this forward, returns those to attend to.
Keep = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a backbone, under the names LLaDA's `config.json` gives them.

    `vocab_size` counts the tokens that have a meaning, `embedding_size` the rows of the embedding table (padded for
    speed). `end_token_ids`: further tokens that end a text, where `eos_token_id` is a list of several.

    attention_block: 0, every position sees every position; B, a position sees those of its own block of B and of the
    blocks before it, counted from the first position of the row. head_size: of one head; 0 is d_model / n_heads.
    rotary_size: how many of a head's numbers, from the first on, turn with the position; 0 is all. rotary_rounded:
    whether cosines and sines are rounded to bfloat16, whatever the weights' type is. qk_norm: whether
    queries and keys are normalised, head by head, before they turn. experts: what stands in the place of the
    feed-forward, in the layers that are not among its `dense` ones.
    """

    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    mlp_hidden_size: int
    vocab_size: int
    embedding_size: int
    max_sequence_length: int
    mask_token_id: int
    eos_token_id: int
    rope_theta: float = 500_000.0
    rms_norm_eps: float = 1e-5
    include_qkv_bias: bool = False
    include_bias: bool = False
    weight_tying: bool = False
    end_token_ids: tuple[int, ...] = ()
    attention_block: int = 0
    head_size: int = 0
    rotary_size: int = 0
    rotary_rounded: bool = False
    qk_norm: bool = False
    experts: ExpertsConfig | None = None

    @property
    def head_dim(self) -> int:
        return self.head_size or self.d_model // self.n_heads

    @property
    def rotary_dim(self) -> int:
        return self.rotary_size or self.head_dim


def rotary_tables(positions: Tensor, head_dim: int, theta: float, rounded: bool = False) -> tuple[Tensor, Tensor]:
    """cos and sin of the rotary angles, computed in float64.

    Args:
        positions: [T] or [B, T] integer positions.
        rounded: to bfloat16's numbers.
    Returns:
        two float tensors [..., T, head_dim], the halves repeated (rotate-half convention).
    """
    inverse = theta ** (-torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float64) / head_dim)
    angle = positions.double()[..., None] * inverse
    angle = torch.cat((angle, angle), dim=-1)
    cos, sin = angle.cos(), angle.sin()
    return (cos.bfloat16().double(), sin.bfloat16().double()) if rounded else (cos, sin)


def _rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Rotary embedding; computed in at least float32, returned in x's dtype. x: [B, H, T, D], of which as many numbers
    turn as there are angles."""
    cos, sin = rotary
    size = cos.shape[-1]
    if size < x.shape[-1]:
        return torch.cat((_rotate(x[..., :size], rotary), x[..., size:]), -1)
    return (x * cos + x.roll(size // 2, -1) * sin).to(x.dtype)


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


class Block(nn.Module):
    """Pre-norm attention and SwiGLU, or experts. `ff_proj` is the gate, `up_proj` the value, `ff_out` the way down
    (LLaDA's names)."""

    def __init__(self, c: ModelConfig, layer: int = 0):
        super().__init__()
        heads, kv = c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
        qkv_bias = c.include_qkv_bias or c.include_bias
        self.n_heads, self.n_kv_heads, self.head_dim = c.n_heads, c.n_kv_heads, c.head_dim
        self.attn_norm = RMSNorm(c.d_model, c.rms_norm_eps)
        self.q_proj = Linear(c.d_model, heads, bias=qkv_bias)
        self.k_proj = Linear(c.d_model, kv, bias=qkv_bias)
        self.v_proj = Linear(c.d_model, kv, bias=qkv_bias)
        self.attn_out = Linear(heads, c.d_model, bias=c.include_bias)
        self.q_norm = RMSNorm(c.head_dim, c.rms_norm_eps) if c.qk_norm else None
        self.k_norm = RMSNorm(c.head_dim, c.rms_norm_eps) if c.qk_norm else None
        self.ff_norm = RMSNorm(c.d_model, c.rms_norm_eps)
        self.experts = Experts(c.d_model, c.experts) if c.experts and layer not in c.experts.dense else None
        if self.experts is not None:
            return
        self.ff_proj = Linear(c.d_model, c.mlp_hidden_size, bias=c.include_bias)
        self.up_proj = Linear(c.d_model, c.mlp_hidden_size, bias=c.include_bias)
        self.ff_out = Linear(c.mlp_hidden_size, c.d_model, bias=c.include_bias)

    def forward(
        self,
        x: Tensor,
        rotary: Rotary,
        attention_mask: Tensor | None,
        keep: Keep | None = None,
        wanted: Wanted | None = None,
        attend: Callable[..., Tensor] | None = None,
    ) -> Tensor:
        """[B, T, d] -> [B, T, d]; or [R, d], the wanted hidden states alone, which only need their own queries and
        feed-forward."""
        x, mixed = self._attended(x, rotary, attention_mask, keep, wanted, attend)
        x = x + self.attn_out(mixed)
        return x + self.forwarded(self.ff_norm(x))

    def forwarded(self, h: Tensor) -> Tensor:
        """[..., d] -> [..., d], the feed-forward."""
        if self.experts is not None:
            return self.experts(h)
        return self.ff_out(F.silu(self.ff_proj(h)) * self.up_proj(h))

    def queries(self, h: Tensor) -> Tensor:
        """[B, T, d] -> [B, H, T, D], not rotated."""
        q = self._heads(self.q_proj(h))
        return q if self.q_norm is None else self.q_norm(q)

    def keys_values(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T, d] -> [B, H, T, D] each, not rotated."""
        k = self._heads(self.k_proj(h))
        return k if self.k_norm is None else self.k_norm(k), self._heads(self.v_proj(h))

    def _attended(
        self,
        x: Tensor,
        rotary: Rotary,
        attention_mask: Tensor | None,
        keep: Keep | None,
        wanted: Wanted | None,
        attend: Callable[..., Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """What came in and what attention makes of it. On its own, so that queries, keys and values are gone before the
        feed-forward, whose activations are the largest, begins."""
        h = self.attn_norm(x)
        k, v = self.keys_values(h)
        k = _rotate(k, rotary)
        if keep is not None:
            k, v = keep(k, v)
        if wanted is not None:
            x, h, rotary = wanted.states_of(wanted.columns_of(x)), wanted.columns_of(h), wanted.rotary_of(rotary)
            attention_mask = wanted.mask_of(attention_mask)
        q = _rotate(self.queries(h), rotary)
        if self.n_kv_heads != self.n_heads:
            repeat = self.n_heads // self.n_kv_heads
            k, v = k.repeat_interleave(repeat, dim=1), v.repeat_interleave(repeat, dim=1)
        if attend is None:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=attention_mask)
        else:
            mixed = attend(q, k, v, attention_mask)
        mixed = mixed.transpose(1, 2).flatten(2)
        return x, mixed if wanted is None else wanted.states_of(mixed)

    def _heads(self, y: Tensor) -> Tensor:
        """[B, T, H·D] -> [B, H, T, D]."""
        return y.view(*y.shape[:2], y.shape[2] // self.head_dim, self.head_dim).transpose(1, 2)


class Transformer(nn.Module):
    """Embeddings in, hidden states out, and a head that is applied only to the rows somebody needs.

    Attribute names follow LLaDA's checkpoint keys (`wte`, `blocks`, `ln_f`, `ff_out`), so its key map is a prefix.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        table = torch.empty(config.embedding_size, config.d_model)
        if not table.is_meta:  # where there is nothing to draw, torch would import its compiler for it: seconds
            nn.init.normal_(table)
        self.wte = nn.Embedding.from_pretrained(table, freeze=False)
        self.blocks = nn.ModuleList(Block(config, n) for n in range(config.n_layers))
        self.ln_f = RMSNorm(config.d_model, config.rms_norm_eps)
        if not config.weight_tying:
            self.ff_out = Linear(config.d_model, config.embedding_size, bias=False)
        self.rows = 1  # products of a multiple of so many rows are preferred
        self._angles: dict[tuple[torch.device, torch.dtype], Rotary] = {}

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids [...] -> input embeddings [..., d_model]."""
        return self.wte(ids)

    def forward(
        self,
        embeddings: Tensor,
        attention_mask: Tensor | None = None,
        positions: Tensor | None = None,
        keep: Sequence[Keep] | None = None,
        wanted: Wanted | None = None,
        reach: int | None = None,
        attend: Attending | None = None,
    ) -> Tensor:
        """Hidden states after the final norm.

        Args:
            embeddings: [B, T, d_model].
            attention_mask: boolean, [B, 1, T or 1, keys], True where a query may look; None means everywhere.
            positions: [T] or [B, T] rotary positions; 0 … T-1 by default.
            keep: per layer, what supplies the keys and values of the positions that are not among these T.
            reach: more than the largest of `positions`; without it a GPU is waited for to know.
            attend: what stands in the place of attention to everything, layer by layer.
        Returns:
            [B, T, d_model], or [R, d_model] for the wanted ones alone, the dtype of the weights.
        """
        rotary = self._rotary(embeddings, positions, reach)
        x = embeddings
        for n, block in enumerate(self.blocks):
            last = n == len(self.blocks) - 1 and attend is None
            how = None if attend is None else partial(attend, n)
            x = block(x, rotary, attention_mask, keep[n] if keep else None, wanted if last else None, how)
        if attend is not None and wanted is not None:  # patterns are found from all queries of every layer
            x = wanted.states_of(wanted.columns_of(x))
        return self.ln_f(x)

    def _rotary(self, x: Tensor, positions: Tensor | None, reach: int | None) -> Rotary:
        if positions is None:
            cos, sin = self.angles(x.shape[1], x)
            return cos[: x.shape[1]], sin[: x.shape[1]]
        cos, sin = (table[positions] for table in self.angles(int(positions.max()) + 1 if reach is None else reach, x))
        return (cos[:, None], sin[:, None]) if positions.dim() == 2 else (cos, sin)  # per row: add the head axis

    def angles(self, reach: int, x: Tensor) -> Rotary:
        """cos and sin at positions 0 … reach - 1 and some more, kept for the next forward."""
        key = (x.device, x.dtype)
        if key not in self._angles or len(self._angles[key][0]) < reach:
            self._angles[key] = self._made(reach, x)
        return self._angles[key]

    @torch.inference_mode(False)
    def _made(self, reach: int, x: Tensor) -> Rotary:
        positions = torch.arange(-(-reach // ROTARY_STEP) * ROTARY_STEP, device=x.device)
        cos, sin = rotary_tables(positions, self.config.rotary_dim, self.config.rope_theta, self.config.rotary_rounded)
        sin[:, : self.config.rotary_dim // 2].neg_()
        wide = torch.promote_types(x.dtype, torch.float32)
        return cos.to(wide), sin.to(wide)

    def head(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., d_model] -> logits [..., embedding_size]."""
        return F.linear(hidden, self.wte.weight) if self.config.weight_tying else self.ff_out(hidden)

    def pack(self) -> Transformer:
        """Store the weights as the fastest matrix product wants them, where there is a faster one than torch's; no more
        memory is used than for a second copy of one of them. On a CPU a row is also made independent of its batch."""
        if self.wte.weight.is_cpu:
            self.rows = FEWEST
        for layer in self.modules():
            if isinstance(layer, Linear) and packs(layer.weight):
                layer.pack()
                self.rows = ROWS
        return self


def parameters(config: ModelConfig) -> int:
    """How many numbers a transformer's weights are; nothing is allocated."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Transformer(config).parameters())
