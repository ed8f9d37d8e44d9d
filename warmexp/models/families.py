"""The layouts of block-causal families and of those with experts.

Sources, read in November 2026: the modelling code and config.json of JetLM/SDAR-4B-Chat (SDAR, arXiv 2510.06303, whose
tensors have Qwen3's names); of Efficient-Large-Model/Fast_dLLM_v2_1.5B (Fast-dLLM v2, 2509.26328, Qwen2's names); of
inclusionAI/LLaDA-MoE-7B-A1B-Instruct (LLaDA-MoE, 2509.24389, OLMoE's router); of inclusionAI/LLaDA2.0-mini and
LLaDA2.1-mini (LLaDA2, 2512.15745, the names of Ling 2.0).
"""

from __future__ import annotations

from typing import Any

from warmexp.models.experts import ExpertsConfig
from warmexp.models.fields import Fields
from warmexp.models.layout import QWEN, QWEN_ATTENTION, QWEN_FEED_FORWARD, QWEN_REQUIRED, Layout, qwen_sizes

QWEN_NORMS = {"q_norm": "self_attn.q_norm", "k_norm": "self_attn.k_norm"}
_EXPERTS = {
    "experts.router": "mlp.gate",
    "experts.ff_proj": "mlp.experts.{e}.gate_proj",
    "experts.up_proj": "mlp.experts.{e}.up_proj",
    "experts.ff_out": "mlp.experts.{e}.down_proj",
}


def _sdar_sizes(c: Fields) -> dict[str, Any]:
    return {
        **qwen_sizes(c, mask=151669, eos=151643),
        "head_size": c.whole("head_dim", 128),
        "qk_norm": True,
        "attention_block": c.whole("block_size", 4),
    }


SDAR = Layout(
    name="SDAR",
    logits="aligned",
    model_type="sdar",
    architecture="SDARForCausalLM",
    required=QWEN_REQUIRED,
    fixed={"hidden_act": "silu", "use_sliding_window": False, "attention_bias": False},
    sizes=_sdar_sizes,
    tensors=QWEN,
    block="model.layers.{n}.",
    parts=QWEN_ATTENTION | QWEN_NORMS | QWEN_FEED_FORWARD,
)


def _fast_dllm_sizes(c: Fields) -> dict[str, Any]:
    sizes = qwen_sizes(c, mask=151665, eos=151645)
    return {**sizes, "include_qkv_bias": True, "attention_block": c.whole("bd_size", 32)}


FAST_DLLM_V2 = Layout(
    name="Fast-dLLM v2",
    logits="shifted",
    model_type="Fast_dLLM_Qwen",
    architecture="Fast_dLLM_QwenForCausalLM",
    required=QWEN_REQUIRED,
    fixed={"hidden_act": "silu", "use_sliding_window": False},
    sizes=_fast_dllm_sizes,
    tensors=QWEN,
    block="model.layers.{n}.",
    parts=QWEN_ATTENTION | QWEN_FEED_FORWARD,
)


def _llada_moe_sizes(c: Fields) -> dict[str, Any]:
    layers = c.whole("num_hidden_layers")
    kinds = c.raw.get("moe_layer_freq")
    if not isinstance(kinds, list) or len(kinds) != layers or any(kind not in (0, 1) for kind in kinds):
        raise c.refuse("moe_layer_freq", f"which has to be {layers} times 0 or 1, one for every layer")
    experts = ExpertsConfig(
        count=c.whole("num_experts"),
        chosen=c.whole("num_experts_per_tok"),
        width=c.whole("expert_intermediate_size"),
        shared=c.whole("shared_expert_intermediate_size", 0, least=0),
        dense=tuple(n for n, kind in enumerate(kinds) if not kind),
    )
    sizes = qwen_sizes(c, "dense_intermediate_size", mask=156895, eos=156892)
    return {**sizes, "qk_norm": c.flag("qk_layernorm", False), "experts": experts}


LLADA_MOE = Layout(
    name="LLaDA-MoE",
    logits="aligned",
    model_type="lladamoe",
    architecture="LLaDAMoEModelLM",
    required=(
        "hidden_size", "num_hidden_layers", "num_attention_heads", "dense_intermediate_size",
        "expert_intermediate_size", "num_experts", "num_experts_per_tok", "moe_layer_freq", "vocab_size",
        "max_position_embeddings", "rms_norm_eps",
    ),
    fixed={
        "hidden_act": "silu",
        "attention_bias": False,
        "norm_topk_prob": False,  # the published code never divides the weights by their sum
        "moe_router_enable_expert_bias": False,
        "moe_router_score_function": "softmax",
        "routed_scaling_factor": 1,
    },
    sizes=_llada_moe_sizes,
    tensors=QWEN,
    block="model.layers.{n}.",
    parts=QWEN_ATTENTION | QWEN_NORMS | QWEN_FEED_FORWARD | _EXPERTS | {
        "experts.shared.ff_proj": "shared_expert.gate_proj",
        "experts.shared.up_proj": "shared_expert.up_proj",
        "experts.shared.ff_out": "shared_expert.down_proj",
    },
)  # fmt: skip


def _llada2_sizes(c: Fields) -> dict[str, Any]:
    head = c.whole("head_dim", c.whole("hidden_size") // c.whole("num_attention_heads"))
    share = 0.5 if c.raw.get("partial_rotary_factor") is None else c.real("partial_rotary_factor", 0, 1)
    turning, width, chosen = int(head * share), c.whole("moe_intermediate_size"), c.whole("num_experts_per_tok")
    if c.whole("rotary_dim", turning) != turning:
        raise c.refuse(
            "rotary_dim", f"which is not head_dim times partial_rotary_factor, {turning}: check the checkpoint"
        )
    experts = ExpertsConfig(
        count=c.whole("num_experts"),
        chosen=chosen,
        width=width,
        shared=width * c.whole("num_shared_experts", 0, least=0),
        dense=tuple(range(c.whole("first_k_dense_replace", 0, least=0))),
        scores="sigmoid",
        bias=True,
        groups=c.whole("n_group", 8),
        chosen_groups=c.whole("topk_group", 4),
        normalised=chosen > 1,
        scale=2.5 if c.raw.get("routed_scaling_factor") is None else c.real("routed_scaling_factor", 0, 1e6),
    )
    pad = c.raw.get("pad_token_id")
    # The published config.json names neither mask nor end of text, which is what it pads with.
    sizes = qwen_sizes(c, rotary_share=share, mask=156895, eos=156892 if pad is None else pad)
    return {
        **sizes,
        "include_qkv_bias": c.flag("use_qkv_bias", False),
        "head_size": head,
        "rotary_size": turning,
        "qk_norm": True,
        "attention_block": 32,  # config.json says nothing of it: the published generation's block_length
        "experts": experts,
    }


LLADA2 = Layout(
    name="LLaDA2",
    logits="aligned",
    model_type="llada2_moe",
    architecture="LLaDA2MoeModelLM",
    required=(
        "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "moe_intermediate_size",
        "num_experts", "num_experts_per_tok", "vocab_size", "max_position_embeddings", "rms_norm_eps",
    ),
    fixed={
        "hidden_act": "silu",
        "use_bias": False,
        "use_qk_norm": True,
        "use_rmsnorm": True,
        "use_sliding_window": False,
        "norm_head": False,
        "norm_softmax": False,
        "norm_topk_prob": True,
        "score_function": "sigmoid",
        "moe_router_enable_expert_bias": True,
        "using_split_qkv_in_self_attention": False,
    },
    sizes=_llada2_sizes,
    tensors={"wte": "model.word_embeddings", "ln_f": "model.norm", "ff_out": "lm_head"},
    block="model.layers.{n}.",
    parts={
        "attn_norm": "input_layernorm",
        "q_proj": "attention.query_key_value",
        "k_proj": "attention.query_key_value",
        "v_proj": "attention.query_key_value",
        "q_norm": "attention.query_layernorm",
        "k_norm": "attention.key_layernorm",
        "attn_out": "attention.dense",
        "ff_norm": "post_attention_layernorm",
        **QWEN_FEED_FORWARD,
        **_EXPERTS,
        "experts.router.bias": "mlp.gate.expert_bias",
        "experts.shared.ff_proj": "mlp.shared_experts.gate_proj",
        "experts.shared.up_proj": "mlp.shared_experts.up_proj",
        "experts.shared.ff_out": "mlp.shared_experts.down_proj",
    },
    # LLaDA2.2's editing tokens and layers that predict further tokens
    refused=("delete_token_id", "split_token_id", "num_nextn_predict_layers"),
)  # fmt: skip
