"""Published checkpoint layouts: what their `config.json` fields and tensors are called, and which layout a checkpoint is in.

One transformer serves them all. A layout is a reading of `config.json` and a table of tensor names; adding a family of the same
architecture is adding one `Layout`. A field that would make it another network is refused by name, never ignored.

Sources: config.json and the key lists of GSAI-ML/LLaDA-8B-Instruct (LLaDA, arXiv 2502.09992) and Dream-org/Dream-v0-Instruct-7B (Dream,
arXiv 2508.15487, whose tensors have Qwen2's names).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from warmexp.errors import UserError
from warmexp.models.hub import read_json
from warmexp.models.transformer import ModelConfig


@dataclass(frozen=True)
class Layout:
    """How one family publishes its checkpoints.

    logits: the family's alignment (backbone.py). model_type, architecture: how config.json says that it is this one.
    required: config.json fields without which nothing can be built. fixed: fields that may only have this value (or be absent).
    sizes: config.json -> ModelConfig's fields. tensors: names outside the blocks, ours -> theirs; block: the prefix of block {n};
    parts: names inside a block, ours -> theirs.
    """

    name: str
    logits: str
    model_type: str
    architecture: str
    required: tuple[str, ...]
    fixed: dict[str, Any]
    sizes: Callable[[dict[str, Any]], dict[str, Any]]
    tensors: dict[str, str]
    block: str
    parts: dict[str, str] = field(default_factory=dict)

    def published(self, name: str) -> str:
        """The published name of one of the Transformer's tensors, e.g. `blocks.3.q_proj.weight`."""
        stem, _, kind = name.rpartition(".")
        if stem.startswith("blocks."):
            _, n, part = stem.split(".")
            return f"{self.block.format(n=n)}{self.parts[part]}.{kind}"
        return f"{self.tensors[stem]}.{kind}"

    def config(self, raw: dict[str, Any], where: str) -> ModelConfig:
        """ModelConfig from a parsed config.json; `where` names the checkpoint in messages.

        Raises:
            UserError: a field is missing, or has a value that this transformer does not implement.
        """
        for name, value in self.fixed.items():
            if raw.get(name, value) != value:
                raise UserError(f"{where}: config.json has {name}={raw[name]!r}, only {value!r} is implemented.")
        missing = [name for name in self.required if raw.get(name) is None]
        if missing:
            raise UserError(f"{where}: config.json lacks {', '.join(missing)}: give a checkpoint in {self.name}'s published layout.")
        config = ModelConfig(**self.sizes(raw))
        if config.d_model % config.n_heads or config.n_heads % config.n_kv_heads or config.head_dim % 2:
            raise UserError(
                f"{where}: config.json has {config.n_heads} heads and {config.n_kv_heads} key-value heads for a width of"
                f" {config.d_model}, which do not divide: check the checkpoint."
            )
        return config


def _llada_sizes(raw: dict[str, Any]) -> dict[str, Any]:
    names = ("d_model", "n_layers", "n_heads", "mlp_hidden_size", "vocab_size", "max_sequence_length", "mask_token_id", "eos_token_id")
    return {
        **{name: raw[name] for name in names},
        "n_kv_heads": raw.get("n_kv_heads") or raw["n_heads"],
        "embedding_size": raw.get("embedding_size") or raw["vocab_size"],
        "rope_theta": float(raw["rope_theta"]),
        "rms_norm_eps": float(raw["rms_norm_eps"]),
        "include_bias": bool(raw.get("include_bias", False)),
        "include_qkv_bias": bool(raw.get("include_qkv_bias", False)),
        "weight_tying": bool(raw.get("weight_tying", False)),
    }


def _dream_sizes(raw: dict[str, Any]) -> dict[str, Any]:
    return {
        "d_model": raw["hidden_size"],
        "n_layers": raw["num_hidden_layers"],
        "n_heads": raw["num_attention_heads"],
        "n_kv_heads": raw.get("num_key_value_heads") or raw["num_attention_heads"],
        "mlp_hidden_size": raw["intermediate_size"],
        "vocab_size": raw["vocab_size"],
        "embedding_size": raw["vocab_size"],
        "max_sequence_length": raw["max_position_embeddings"],
        "mask_token_id": raw["mask_token_id"],
        "eos_token_id": raw["eos_token_id"],
        "rope_theta": float(raw["rope_theta"]),
        "rms_norm_eps": float(raw["rms_norm_eps"]),
        "include_qkv_bias": True,  # Qwen2's blocks always have them and its config.json has no field for it
        "weight_tying": bool(raw.get("tie_word_embeddings", False)),
    }


_LLADA_PARTS = ("attn_norm", "q_proj", "k_proj", "v_proj", "attn_out", "ff_norm", "ff_proj", "up_proj", "ff_out")

LLADA = Layout(
    name="LLaDA",
    logits="aligned",
    model_type="llada",
    architecture="LLaDAModelLM",
    required=(
        "d_model", "n_layers", "n_heads", "mlp_hidden_size", "vocab_size", "max_sequence_length", "rope_theta", "rms_norm_eps",
        "mask_token_id", "eos_token_id",
    ),
    fixed={
        "activation_type": "silu",
        "block_type": "llama",
        "block_group_size": 1,
        "layer_norm_type": "rms",
        "layer_norm_with_affine": True,
        "bias_for_layer_norm": False,
        "attention_layer_norm": False,
        "input_emb_norm": False,
        "scale_logits": False,
        "rope": True,
        "alibi": False,
    },
    sizes=_llada_sizes,
    tensors={"wte": "model.transformer.wte", "ln_f": "model.transformer.ln_f", "ff_out": "model.transformer.ff_out"},
    block="model.transformer.blocks.{n}.",
    parts={part: part for part in _LLADA_PARTS},
)  # fmt: skip

DREAM = Layout(
    name="Dream",
    logits="shifted",
    model_type="Dream",
    architecture="DreamModel",
    required=(
        "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size", "max_position_embeddings",
        "rope_theta", "rms_norm_eps", "mask_token_id", "eos_token_id",
    ),
    fixed={"hidden_act": "silu", "use_sliding_window": False, "rope_scaling": None},
    sizes=_dream_sizes,
    tensors={"wte": "model.embed_tokens", "ln_f": "model.norm", "ff_out": "lm_head"},
    block="model.layers.{n}.",
    parts={
        "attn_norm": "input_layernorm",
        "q_proj": "self_attn.q_proj",
        "k_proj": "self_attn.k_proj",
        "v_proj": "self_attn.v_proj",
        "attn_out": "self_attn.o_proj",
        "ff_norm": "post_attention_layernorm",
        "ff_proj": "mlp.gate_proj",
        "up_proj": "mlp.up_proj",
        "ff_out": "mlp.down_proj",
    },
)  # fmt: skip

LAYOUTS = {"llada": LLADA, "dream": DREAM}


def read_layout(folder: Path) -> tuple[Layout, ModelConfig]:
    """The layout a checkpoint is in and its sizes, both from its config.json.

    Raises:
        UserError: another family, a missing field, or an architecture that is not implemented.
    """
    raw = read_json("backbone.path", folder / "config.json")
    where = f"backbone.path={folder}"
    architectures = raw.get("architectures") or []
    for layout in LAYOUTS.values():
        if raw.get("model_type") == layout.model_type or layout.architecture in architectures:
            return layout, layout.config(raw, where)
    known = " and ".join(f"{layout.name} (model_type {layout.model_type})" for layout in LAYOUTS.values())
    raise UserError(f"{where}: config.json has model_type={raw.get('model_type')}; the layouts that can be read are {known}.")
