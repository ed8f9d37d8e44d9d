"""Published checkpoint layouts: what their `config.json` fields and tensors are called, and which layout a checkpoint
is in.

One transformer serves them all. A layout is a reading of `config.json` and a table of tensor names; adding a family of
the same architecture is adding one `Layout`. A field that would make it another network is refused by name, never
ignored.

Sources: config.json and the key lists of GSAI-ML/LLaDA-8B-Instruct (LLaDA, arXiv 2502.09992) and
Dream-org/Dream-v0-Instruct-7B (Dream, arXiv 2508.15487, whose tensors have Qwen2's names). The others: families.py, smdm.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from warmexp.errors import UserError
from warmexp.models.families import FAST_DLLM_V2, LLADA2, LLADA_MOE, SDAR
from warmexp.models.fields import Fields
from warmexp.models.files import named, read_json
from warmexp.models.layout import (
    QWEN,
    QWEN_ATTENTION,
    QWEN_FEED_FORWARD,
    QWEN_REQUIRED,
    Layout,
    common_fields,
    qwen_sizes,
)
from warmexp.models.smdm import SMDM
from warmexp.models.transformer import ModelConfig

__all__ = ["DREAM", "LAYOUTS", "LLADA", "Layout", "read_layout"]


def _llada_sizes(c: Fields) -> dict[str, Any]:
    names = ("d_model", "n_layers", "n_heads", "mlp_hidden_size", "vocab_size", "max_sequence_length")
    if c.raw.get("multi_query_attention") and c.raw.get("n_kv_heads") != 1:
        raise c.refuse("multi_query_attention", "which needs n_kv_heads=1: check the checkpoint")
    rows = c.whole("embedding_size", c.whole("vocab_size"))
    return {
        **{name: c.whole(name) for name in names},
        "n_kv_heads": c.whole("n_kv_heads", c.whole("n_heads")),
        "attention_block": c.whole("attention_block", 0, least=0),  # of the lab's own recipe: LLaDA has no such field
        "embedding_size": rows,
        "include_bias": c.flag("include_bias", False),
        "include_qkv_bias": c.flag("include_qkv_bias", False),
        "weight_tying": c.flag("weight_tying", False),
        **common_fields(c, rows),
    }


def _dream_sizes(c: Fields) -> dict[str, Any]:
    # Qwen2's blocks always have these biases and its config.json has no field for them
    return {**qwen_sizes(c), "include_qkv_bias": True}


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
    required=(*QWEN_REQUIRED, "mask_token_id", "eos_token_id"),
    fixed={"hidden_act": "silu", "use_sliding_window": False},
    sizes=_dream_sizes,
    tensors=QWEN,
    block="model.layers.{n}.",
    parts=QWEN_ATTENTION | QWEN_FEED_FORWARD,
)

LAYOUTS = {
    "llada": LLADA,
    "dream": DREAM,
    "sdar": SDAR,
    "fast_dllm_v2": FAST_DLLM_V2,
    "llada_moe": LLADA_MOE,
    "llada2": LLADA2,
    "smdm": SMDM,
}


def read_layout(folder: Path, layouts: Mapping[str, Layout] = LAYOUTS) -> tuple[Layout, ModelConfig]:
    """The layout a checkpoint is in, one of `layouts`, and its sizes, both from its config.json.

    Raises:
        UserError: another family, a missing field, or an architecture that is not implemented.
    """
    raw = read_json("backbone.path", folder / "config.json")
    where = f"backbone.path={folder}"
    architectures = raw.get("architectures")
    architectures = architectures if isinstance(architectures, list) else [architectures]
    # LLaDA-MoE says model_type llada, too: its architecture tells.
    for layout in layouts.values():
        if layout.architecture in architectures:
            return layout, layout.config(raw, where)
    for layout in layouts.values():
        if raw.get("model_type") == layout.model_type:
            return layout, layout.config(raw, where)
    known = ", ".join(f"{layout.name} (model_type {layout.model_type})" for layout in layouts.values())
    raise UserError(
        f"{where}: config.json has model_type={named(raw.get('model_type'))}; the layouts that can be read are {known}."
    )
