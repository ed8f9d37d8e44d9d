"""Layouts of autoregressive models, which a guide may be in: transformers' Qwen2, Qwen3 and Llama.

They are read from left to right by the one transformer, whose attention is masked from outside. Sources: config.json
and modelling code of Qwen2 (arXiv 2407.10671), Qwen3 (2505.09388) and Llama (2307.09288) in transformers 5.
"""

from __future__ import annotations

from typing import Any

from warmexp.models.families import QWEN_NORMS
from warmexp.models.fields import Fields
from warmexp.models.layout import QWEN, QWEN_ATTENTION, QWEN_FEED_FORWARD, QWEN_REQUIRED, Layout, qwen_sizes


def _sizes(c: Fields, **more: Any) -> dict[str, Any]:
    """No such model has a mask: the last token that ends no text stands for it, and is never read as one."""
    rows = c.whole("vocab_size")
    ends = c.tokens("eos_token_id", rows)
    return {**qwen_sizes(c, mask=next(i for i in range(rows - 1, -1, -1) if i not in ends)), **more}


def _qwen3(c: Fields) -> dict[str, Any]:
    return _sizes(c, head_size=c.whole("head_dim", 128), qk_norm=True)


def _qwen2(c: Fields) -> dict[str, Any]:
    # Qwen2's blocks always have these biases and its config.json has no field for them
    return _sizes(c, include_qkv_bias=True)


def _llama(c: Fields) -> dict[str, Any]:
    return _sizes(c, head_size=c.whole("head_dim", c.whole("hidden_size") // c.whole("num_attention_heads")))


def _layout(name: str, model_type: str, architecture: str, sizes: Any, fixed: dict[str, Any], parts: Any) -> Layout:
    return Layout(
        name=name,
        logits="shifted",
        model_type=model_type,
        architecture=architecture,
        required=(*QWEN_REQUIRED, "eos_token_id"),
        fixed={"hidden_act": "silu", **fixed},
        sizes=sizes,
        tensors=QWEN,
        block="model.layers.{n}.",
        parts=QWEN_ATTENTION | parts | QWEN_FEED_FORWARD,
    )


_PLAIN = {"use_sliding_window": False}
AUTOREGRESSIVE = {
    "qwen2": _layout("Qwen2", "qwen2", "Qwen2ForCausalLM", _qwen2, _PLAIN, {}),
    "qwen3": _layout("Qwen3", "qwen3", "Qwen3ForCausalLM", _qwen3, _PLAIN | {"attention_bias": False}, QWEN_NORMS),
    "llama": _layout(
        "Llama",
        "llama",
        "LlamaForCausalLM",
        _llama,
        {"attention_bias": False, "mlp_bias": False, "pretraining_tp": 1},
        {},
    ),
}
