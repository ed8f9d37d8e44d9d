"""Small backbones in the published layouts of block-causal families and of those with experts, written from the lists
of published names: config.json as it is published, with small sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.checkpoints import DREAM_SPECIAL, EOS, MASK, byte_tokenizer, write_qwen2_files, write_weights

FAMILIES = ("sdar", "fast_dllm_v2", "llada_moe", "llada2")
# How many positions see each other in the written ones, and the shift of their logits.
BLOCKS = {"sdar": 4, "fast_dllm_v2": 32, "llada_moe": 0, "llada2": 32}
SHIFTS = {"sdar": 0, "fast_dllm_v2": 1, "llada_moe": 0, "llada2": 0}
_QWEN = {
    "attention_dropout": 0.0, "bos_token_id": EOS, "eos_token_id": EOS, "mask_token_id": MASK, "hidden_act": "silu", "hidden_size": 16,
    "initializer_range": 0.02, "intermediate_size": 24, "max_position_embeddings": 512, "num_attention_heads": 4,
    "num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_scaling": None, "rope_theta": 1000000,
    "torch_dtype": "bfloat16", "use_cache": False, "vocab_size": 264,
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "sdar": {
        **_QWEN, "architectures": ["SDARForCausalLM"], "model_type": "sdar", "attention_bias": False, "block_size": 4, "debug": False,
        "ep_size": 1, "fuse_cross_entropy": True, "head_dim": 8, "max_window_layers": 36, "micro_forward": False, "sliding_window": None,
        "skip_checkpoint": False, "tie_word_embeddings": False, "use_deepep": False, "use_sliding_window": False,
    },
    "fast_dllm_v2": {
        **_QWEN, "architectures": ["Fast_dLLM_QwenForCausalLM"], "model_type": "Fast_dLLM_Qwen", "bd_size": 32,
        "layer_types": ["full_attention"] * 2, "max_window_layers": 28, "sliding_window": None, "tie_word_embeddings": True,
        "use_sliding_window": False,
    },
    "llada_moe": {
        **{k: v for k, v in _QWEN.items() if k != "intermediate_size"}, "architectures": ["LLaDAMoEModelLM"], "model_type": "llada",
        "attention_bias": False, "clip_qkv": None, "dense_intermediate_size": 24, "expert_intermediate_size": 6, "moe_layer_freq": [0, 1],
        "moe_router_enable_expert_bias": False, "moe_router_score_function": "softmax", "norm_topk_prob": None, "num_experts": 8,
        "num_experts_per_tok": 3, "num_key_value_heads": 4, "output_router_logits": False, "pad_token_id": EOS, "partial_rotary_factor": 1,
        "qk_layernorm": True, "rope_theta": 50000, "routed_scaling_factor": 1, "router_num_group": None, "router_topk_group": None,
        "shared_expert_intermediate_size": None, "tie_word_embeddings": False,
    },
    "llada2": {
        **_QWEN, "architectures": ["LLaDA2MoeModelLM"], "model_type": "llada2_moe", "embedding_dropout": 0.0, "first_k_dense_replace": 1,
        "head_dim": 8, "max_window_layers": 28, "moe_intermediate_size": 6, "moe_router_enable_expert_bias": True, "n_group": 4,
        "norm_head": False, "norm_softmax": False, "norm_topk_prob": True, "num_experts": 8, "num_experts_per_tok": 3,
        "num_shared_experts": 1, "output_dropout": 0.0, "output_router_logits": False, "pad_token_id": EOS, "partial_rotary_factor": 0.5,
        "rope_theta": 600000, "rotary_dim": 4, "routed_scaling_factor": 2.5, "router_dtype": "fp32", "score_function": "sigmoid",
        "tie_word_embeddings": False, "topk_group": 2, "use_bias": False, "use_qkv_bias": False, "use_rmsnorm": True,
        "use_sliding_window": False, "using_split_qkv_in_self_attention": False,
    },
}  # fmt: skip


def shapes(family: str, c: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Published name -> shape, as the published modelling code declares them."""
    d, rows = c["hidden_size"], c["vocab_size"]
    size = c.get("head_dim", d // c["num_attention_heads"])
    heads, kv = c["num_attention_heads"] * size, c["num_key_value_heads"] * size
    made = {"model.word_embeddings.weight" if family == "llada2" else "model.embed_tokens.weight": (rows, d)}
    made["model.norm.weight"] = (d,)
    if not c["tie_word_embeddings"]:
        made["lm_head.weight"] = (rows, d)

    def feed_forward(at: str, width: int) -> None:
        made.update(
            {
                f"{at}.gate_proj.weight": (width, d),
                f"{at}.up_proj.weight": (width, d),
                f"{at}.down_proj.weight": (d, width),
            }
        )

    for n in range(c["num_hidden_layers"]):
        at = f"model.layers.{n}."
        made |= {f"{at}input_layernorm.weight": (d,), f"{at}post_attention_layernorm.weight": (d,)}
        if family == "llada2":
            made |= {
                f"{at}attention.query_key_value.weight": (heads + 2 * kv, d),
                f"{at}attention.dense.weight": (d, heads),
            }
            made |= {f"{at}attention.{word}_layernorm.weight": (size,) for word in ("query", "key")}
        else:
            made |= {f"{at}self_attn.{p}_proj.weight": (out, d) for p, out in (("q", heads), ("k", kv), ("v", kv))}
            made[f"{at}self_attn.o_proj.weight"] = (d, heads)
        if family == "fast_dllm_v2":
            made |= {f"{at}self_attn.{p}_proj.bias": (out,) for p, out in (("q", heads), ("k", kv), ("v", kv))}
        if family == "sdar" or c.get("qk_layernorm"):
            made |= {f"{at}self_attn.{p}_norm.weight": (size,) for p in "qk"}
        expert = c.get("expert_intermediate_size") or c.get("moe_intermediate_size")
        if n >= c["first_k_dense_replace"] if family == "llada2" else family == "llada_moe" and c["moe_layer_freq"][n]:
            made[f"{at}mlp.gate.weight"] = (c["num_experts"], d)
            for e in range(c["num_experts"]):
                feed_forward(f"{at}mlp.experts.{e}", expert)
            if family == "llada2":
                made[f"{at}mlp.gate.expert_bias"] = (c["num_experts"],)
                if c["num_shared_experts"]:
                    feed_forward(f"{at}mlp.shared_experts", expert * c["num_shared_experts"])
            elif c["shared_expert_intermediate_size"]:
                feed_forward(f"{at}shared_expert", c["shared_expert_intermediate_size"])
        else:
            feed_forward(f"{at}mlp", c.get("intermediate_size") or c["dense_intermediate_size"])
    return made


def tensors(family: str, config: dict[str, Any], seed: int = 0) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    made = {}
    for name, shape in shapes(family, config).items():
        drawn = torch.randn(shape, generator=g)
        if len(shape) == 1:
            made[name] = 0.2 * drawn + (1 if name.endswith("norm.weight") else 0)
        else:
            made[name] = drawn * (3 if "lm_head" in name or "embed" in name else 1.5) / shape[1] ** 0.5
    return made


def write_family(
    folder: Path, family: str, seed: int = 0, **changes: Any
) -> tuple[Path, dict[str, torch.Tensor], dict[str, Any]]:
    """A folder in the published layout, its tensors and its config.json. changes: of config.json; ... leaves one out."""
    config = {key: value for key, value in (CONFIGS[family] | changes).items() if value is not ...}
    made = tensors(family, config, seed)
    write_weights(folder, made, config, shards=3)
    if family in ("sdar", "fast_dllm_v2"):
        write_qwen2_files(folder, DREAM_SPECIAL)
    else:
        byte_tokenizer().save(str(folder / "tokenizer.json"))
    return folder, made, config
