"""The published size, special tokens and config.json of each layout's best known or smallest model: what random weights
are given (random_checkpoint.py, bench/subject.py)."""

from __future__ import annotations

from typing import Any

# Sizes: d_model, layers, heads, kv_heads, mlp (inner width), rows (of the embedding table); with experts also their
# number, how many work for a token and the inner width of one.
SHAPES = {
    "llada": {"d_model": 4096, "layers": 32, "heads": 32, "kv_heads": 32, "mlp": 12288, "rows": 126464},
    "dream": {"d_model": 3584, "layers": 28, "heads": 28, "kv_heads": 4, "mlp": 18944, "rows": 152064},
    "sdar": {
        "d_model": 2048, "layers": 28, "heads": 16, "kv_heads": 8, "mlp": 6144, "rows": 151936, "head_dim": 128,
    },
    "fast_dllm_v2": {"d_model": 1536, "layers": 28, "heads": 12, "kv_heads": 2, "mlp": 8960, "rows": 151936},
    "llada_moe": {
        "d_model": 2048, "layers": 16, "heads": 16, "kv_heads": 16, "mlp": 8192, "rows": 157184,
        "experts": 64, "chosen": 8, "expert_mlp": 1024,
    },
    "llada2": {
        "d_model": 2048, "layers": 20, "heads": 16, "kv_heads": 4, "mlp": 5120, "rows": 157184, "head_dim": 128,
        "experts": 256, "chosen": 8, "expert_mlp": 512,
    },
    "smdm": {"d_model": 1792, "layers": 20, "heads": 14, "kv_heads": 14, "mlp": 7168, "rows": 32001},
}  # fmt: skip
# What --tiny makes of any of them: the same parts, few and small.
TINY = {
    "d_model": 64, "layers": 2, "heads": 4, "kv_heads": 2, "mlp": 128, "rows": 512, "head_dim": 16,
    "experts": 16, "chosen": 4, "expert_mlp": 32,
}  # fmt: skip
_QWEN = {"<|im_start|>": 151644, "<|im_end|>": 151645}
_LING = {"<|endoftext|>": 156892, "<|mask|>": 156895, "<|startoftext|>": 156891, "<|role_end|>": 156900}
# Special tokens at their published ids; the first two are the end of text and the mask.
TOKENS = {
    "llada": {
        "<|endoftext|>": 126081,
        "<|mdm_mask|>": 126336,
        "<|startoftext|>": 126080,
        "<|start_header_id|>": 126346,
        "<|end_header_id|>": 126347,
        "<|eot_id|>": 126348,
    },
    "dream": {
        "<|endoftext|>": 151643,
        "<|mask|>": 151666,
        "<|im_start|>": 151644,
        "<|im_end|>": 151645,
        "<|beginoftext|>": 151665,
    },
    "sdar": {"<|endoftext|>": 151643, "<|MASK|>": 151669, **_QWEN},
    "fast_dllm_v2": {"<|im_end|>": 151645, "|<MASK>|": 151665, "<|im_start|>": 151644, "<|endoftext|>": 151643},
    "llada_moe": _LING,
    "llada2": _LING,
    "smdm": {"</s>": 2, "<mask>": 32000, "<s>": 1, "<unk>": 0},
}


def published_config(layout: str, shape: dict[str, int], dtype: str, tokens: dict[str, int]) -> dict[str, Any]:
    """config.json with the fields the family publishes."""
    eos, mask = list(tokens.values())[:2]
    ids = {"mask_token_id": mask, "eos_token_id": eos, "pad_token_id": eos, "torch_dtype": dtype, "use_cache": False}
    return {**_CONFIGS[layout](shape), **ids}


def _llada(shape: dict[str, int]) -> dict[str, Any]:
    return {
        "architectures": ["LLaDAModelLM"],
        "model_type": "llada",
        "activation_type": "silu",
        "block_type": "llama",
        "layer_norm_type": "rms",
        "d_model": shape["d_model"],
        "n_layers": shape["layers"],
        "n_heads": shape["heads"],
        "n_kv_heads": shape["kv_heads"],
        "mlp_hidden_size": shape["mlp"],
        "vocab_size": shape["rows"],
        "embedding_size": shape["rows"],
        "max_sequence_length": 4096,
        "rope": True,
        "rope_theta": 500000.0,
        "rms_norm_eps": 1e-5,
        "include_bias": False,
        "include_qkv_bias": False,
        "weight_tying": False,
    }


def _qwen(shape: dict[str, int]) -> dict[str, Any]:
    """The fields of transformers' Qwen2 and Qwen3."""
    return {
        "hidden_act": "silu",
        "hidden_size": shape["d_model"],
        "num_hidden_layers": shape["layers"],
        "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["kv_heads"],
        "intermediate_size": shape["mlp"],
        "vocab_size": shape["rows"],
        "max_position_embeddings": 32768,
        "rope_theta": 1000000,
        "rope_scaling": None,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
    }


def _dream(shape: dict[str, int]) -> dict[str, Any]:
    named = {"architectures": ["DreamModel"], "model_type": "Dream", "max_position_embeddings": 131072}
    return {**_qwen(shape), **named, "use_sliding_window": False, "tie_word_embeddings": False}


def _sdar(shape: dict[str, int]) -> dict[str, Any]:
    named = {"architectures": ["SDARForCausalLM"], "model_type": "sdar", "attention_bias": False, "block_size": 4}
    return {**_qwen(shape), **named, "head_dim": shape["head_dim"], "use_sliding_window": False}


def _fast_dllm_v2(shape: dict[str, int]) -> dict[str, Any]:
    named = {"architectures": ["Fast_dLLM_QwenForCausalLM"], "model_type": "Fast_dLLM_Qwen", "bd_size": 32}
    return {**_qwen(shape), **named, "use_sliding_window": False}


def _experts(shape: dict[str, int]) -> dict[str, Any]:
    made = {**_qwen(shape), "num_experts": shape["experts"], "num_experts_per_tok": shape["chosen"]}
    return {**made, "tie_word_embeddings": False}


def _llada_moe(shape: dict[str, int]) -> dict[str, Any]:
    made = _experts(shape)
    dense = made.pop("intermediate_size")
    return {
        **made,
        "architectures": ["LLaDAMoEModelLM"],
        "model_type": "llada",
        "dense_intermediate_size": dense,
        "expert_intermediate_size": shape["expert_mlp"],
        "max_position_embeddings": 8192,
        "moe_layer_freq": [1] * shape["layers"],
        "partial_rotary_factor": 1,
        "qk_layernorm": True,
        "rms_norm_eps": 1e-5,
        "rope_theta": 50000,
        "routed_scaling_factor": 1,
        "shared_expert_intermediate_size": None,
    }


def _llada2(shape: dict[str, int]) -> dict[str, Any]:
    groups = 8 if shape["experts"] % 8 == 0 and shape["experts"] >= 16 else 1
    return {
        **_experts(shape),
        "architectures": ["LLaDA2MoeModelLM"],
        "model_type": "llada2_moe",
        "first_k_dense_replace": 1,
        "head_dim": shape["head_dim"],
        "moe_intermediate_size": shape["expert_mlp"],
        "moe_router_enable_expert_bias": True,
        "n_group": groups,
        "norm_topk_prob": True,
        "num_shared_experts": 1,
        "partial_rotary_factor": 0.5,
        "rope_theta": 600000,
        "routed_scaling_factor": 2.5,
        "score_function": "sigmoid",
        "topk_group": max(1, groups // 2),
        "use_bias": False,
        "use_qkv_bias": False,
    }


def _smdm(shape: dict[str, int]) -> dict[str, Any]:
    """lit-gpt's fields. The embedding table has one row, the mask's, more than the padded vocabulary."""
    return {
        "architectures": ["TransEncoder"],
        "model_type": "smdm",
        "block_size": 2048,
        "vocab_size": shape["rows"] - 1,
        "padded_vocab_size": shape["rows"] - 1,
        "n_layer": shape["layers"],
        "n_head": shape["heads"],
        "n_query_groups": shape["kv_heads"],
        "n_embd": shape["d_model"],
        "intermediate_size": shape["mlp"],
        "rotary_percentage": 1.0,
        "condense_ratio": 1,
        "parallel_residual": False,
        "shared_attention_norm": False,
        "bias": False,
        "_norm_class": "FusedRMSNorm",
        "norm_eps": 1e-5,
        "_mlp_class": "LLaMAMLP",
    }


_CONFIGS = {
    "llada": _llada,
    "dream": _dream,
    "sdar": _sdar,
    "fast_dllm_v2": _fast_dllm_v2,
    "llada_moe": _llada_moe,
    "llada2": _llada2,
    "smdm": _smdm,
}
