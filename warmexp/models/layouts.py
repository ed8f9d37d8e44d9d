"""Published checkpoint layouts: what their `config.json` fields and tensors are called, and which layout a checkpoint
is in.

One transformer serves them all. A layout is a reading of `config.json` and a table of tensor names; adding a family of
the same architecture is adding one `Layout`. A field that would make it another network is refused by name, never
ignored.

Sources: config.json and the key lists of GSAI-ML/LLaDA-8B-Instruct (LLaDA, arXiv 2502.09992) and
Dream-org/Dream-v0-Instruct-7B (Dream, arXiv 2508.15487, whose tensors have Qwen2's names).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from warmexp.errors import UserError
from warmexp.models.fields import Fields
from warmexp.models.files import named, read_json
from warmexp.models.transformer import ModelConfig


@dataclass(frozen=True)
class Layout:
    """How one family publishes its checkpoints.

    logits: the family's alignment (backbone.py). model_type, architecture: how config.json says that it is this one.
    required: config.json fields without which nothing can be built. fixed: fields that may only have this value (or be
    absent).
    sizes: config.json -> ModelConfig's fields. tensors: names outside the blocks, ours -> theirs; block: the prefix of
    block {n}; parts: names inside a block, ours -> theirs.
    """

    name: str
    logits: str
    model_type: str
    architecture: str
    required: tuple[str, ...]
    fixed: dict[str, Any]
    sizes: Callable[[Fields], dict[str, Any]]
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
        fields = Fields(raw, where)
        for name, value in self.fixed.items():
            if raw.get(name, value) != value:
                raise fields.refuse(name, f"only {value!r} is implemented")
        for name in _PLAIN:
            if raw.get(name):  # null and false are absence
                raise fields.refuse(name, "which is not implemented")
        missing = [name for name in self.required if name not in fields]
        if missing:
            raise UserError(
                f"{where}: config.json lacks {', '.join(missing)}: give a checkpoint in {self.name}'s published layout."
            )
        config = ModelConfig(**self.sizes(fields))
        if config.d_model % config.n_heads or config.n_heads % config.n_kv_heads or config.head_dim % 2:
            raise UserError(
                f"{where}: config.json has {config.n_heads} heads and {config.n_kv_heads} key-value heads for a width"
                f" of {config.d_model}, which do not divide: check the checkpoint."
            )
        if fields.whole("head_dim", config.head_dim) != config.head_dim:
            raise fields.refuse("head_dim", f"only its width divided by its heads, {config.head_dim}, is implemented")
        if config.vocab_size > config.embedding_size:
            raise fields.refuse(
                "vocab_size", f"which is more than the {config.embedding_size} rows of its embedding table: check it"
            )
        ends = (config.eos_token_id, *config.end_token_ids)
        if config.mask_token_id in ends:
            raise fields.refuse("mask_token_id", "which is also the end of text: check the checkpoint")
        if max(ends) >= config.vocab_size:
            raise fields.refuse(
                "eos_token_id", f"which is beyond its vocab_size={config.vocab_size}: check the checkpoint"
            )
        return config


def _llada_sizes(c: Fields) -> dict[str, Any]:
    names = ("d_model", "n_layers", "n_heads", "mlp_hidden_size", "vocab_size", "max_sequence_length")
    if c.raw.get("multi_query_attention") and c.raw.get("n_kv_heads") != 1:
        raise c.refuse("multi_query_attention", "which needs n_kv_heads=1: check the checkpoint")
    rows = c.whole("embedding_size", c.whole("vocab_size"))
    return {
        **{name: c.whole(name) for name in names},
        "n_kv_heads": c.whole("n_kv_heads", c.whole("n_heads")),
        "embedding_size": rows,
        "include_bias": c.flag("include_bias", False),
        "include_qkv_bias": c.flag("include_qkv_bias", False),
        "weight_tying": c.flag("weight_tying", False),
        **_common(c, rows),
    }


def _dream_sizes(c: Fields) -> dict[str, Any]:
    rows, kinds = c.whole("vocab_size"), c.raw.get("layer_types")
    if kinds is not None and (not isinstance(kinds, list) or any(kind != "full_attention" for kind in kinds)):
        raise c.refuse("layer_types", "only full_attention is implemented")
    return {
        "d_model": c.whole("hidden_size"),
        "n_layers": c.whole("num_hidden_layers"),
        "n_heads": c.whole("num_attention_heads"),
        "n_kv_heads": c.whole("num_key_value_heads", c.whole("num_attention_heads")),
        "mlp_hidden_size": c.whole("intermediate_size"),
        "vocab_size": rows,
        "embedding_size": rows,
        "max_sequence_length": c.whole("max_position_embeddings"),
        "include_qkv_bias": True,  # Qwen2's blocks always have them and its config.json has no field for it
        "weight_tying": c.flag("tie_word_embeddings", False),
        **_common(c, rows),
    }


def _common(c: Fields, rows: int) -> dict[str, Any]:
    """What both families call the same. eos_token_id may be a list: the first fills up a response, each of them ends
    it."""
    eos, *others = c.tokens("eos_token_id", rows)
    return {
        "mask_token_id": c.token("mask_token_id", rows),
        "eos_token_id": eos,
        "end_token_ids": tuple(others),
        "rope_theta": c.rope_theta(),
        "rms_norm_eps": c.real("rms_norm_eps", 0, 1),
    }


# Fields of either family that would make it another network, or its stored numbers other numbers.
_PLAIN = ("clip_qkv", "use_mrope", "quantization_config")
_LLADA_PARTS = ("attn_norm", "q_proj", "k_proj", "v_proj", "attn_out", "ff_norm", "ff_proj", "up_proj", "ff_out")

LLADA = Layout(
    name="LLaDA",
    logits="aligned",
    model_type="llada",
    architecture="LLaDAModelLM",
    required=(
        "d_model", "n_layers", "n_heads", "mlp_hidden_size", "vocab_size", "max_sequence_length", "rms_norm_eps", "mask_token_id",
        "eos_token_id",
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
        "rope_full_precision": True,
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
        "rms_norm_eps", "mask_token_id", "eos_token_id",
    ),
    fixed={"hidden_act": "silu", "use_sliding_window": False},
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
    architectures = raw.get("architectures")
    architectures = architectures if isinstance(architectures, list) else [architectures]
    for layout in LAYOUTS.values():
        if raw.get("model_type") == layout.model_type or layout.architecture in architectures:
            return layout, layout.config(raw, where)
    known = " and ".join(f"{layout.name} (model_type {layout.model_type})" for layout in LAYOUTS.values())
    raise UserError(
        f"{where}: config.json has model_type={named(raw.get('model_type'))}; the layouts that can be read are {known}."
    )
