"""The layout of SMDM's models (Scaling up Masked Diffusion Models on Text, arXiv 2410.18514; nieshen/SMDM).

They are published as one safetensors file in lit-gpt's tensor names, without a config.json and without a tokenizer:
docs/models.md says what is laid beside it. config.json has the fields of lit-gpt's Config under the same names, and
what lit-gpt would take for an absent one is mostly another network: those that decide have to be there.

Sources, read in November 2026: lit_gpt/diffmodel.py, lit_gpt/config.py and the samplers of ML-GSAI/SMDM. Of each key
head's group one matrix has the rows of its queries, its key and its value. All of a head turns, in halves, with base
10,000; cosines and sines are rounded to bfloat16 whatever the weights are. The mask, 32000, has a row in the embedding
table and none in the head.
"""

from __future__ import annotations

from typing import Any

from warmexp.models.fields import Fields
from warmexp.models.layout import Layout

MASK, EOS = 32000, 2  # the samplers' constant; Llama 2's </s>
_PADDED_TO = 512  # lit-gpt's padding_multiple where nothing is said
_NORMS = ("FusedRMSNorm", "RMSNorm")  # the same function


def _smdm_sizes(c: Fields) -> dict[str, Any]:
    width, heads, words = c.whole("n_embd"), c.whole("n_head"), c.whole("vocab_size")
    if c.raw["_norm_class"] not in _NORMS:
        raise c.refuse("_norm_class", f"only {' and '.join(_NORMS)} are implemented")
    if c.whole("head_size", max(1, width // heads)) != width // heads:
        raise c.refuse("head_size", f"only n_embd divided by n_head, {width // heads}, is implemented")
    multiple = c.whole("padding_multiple", _PADDED_TO)
    padded = c.whole("padded_vocab_size", -(-words // multiple) * multiple)
    if padded < words:
        raise c.refuse("padded_vocab_size", f"which is less than vocab_size={words}: check it")
    first, *others = c.tokens("eos_token_id", words, EOS)
    return {
        "d_model": width,
        "n_layers": c.whole("n_layer"),
        "n_heads": heads,
        "n_kv_heads": c.whole("n_query_groups", heads),
        "mlp_hidden_size": c.whole("intermediate_size"),
        "vocab_size": words,
        "embedding_size": padded + 1,
        "max_sequence_length": c.whole("block_size"),
        "mask_token_id": c.token("mask_token_id", padded + 1, MASK),
        "eos_token_id": first,
        "end_token_ids": tuple(others),
        "rope_theta": 10_000.0,
        "rotary_rounded": True,
        "rms_norm_eps": c.real("norm_eps", 0, 1),
    }


SMDM = Layout(
    name="SMDM",
    logits="aligned",
    model_type="smdm",
    architecture="TransEncoder",
    required=(
        "n_embd", "n_layer", "n_head", "intermediate_size", "vocab_size", "block_size", "norm_eps", "rotary_percentage",
        "parallel_residual", "bias", "_norm_class", "_mlp_class",
    ),
    fixed={
        "rotary_percentage": 1,
        "condense_ratio": 1,
        "rope_condense_ratio": 1,
        "rope_base": 10_000,
        "rope_theta": 10_000,
        "parallel_residual": False,
        "bias": False,
        "_mlp_class": "LLaMAMLP",
    },
    sizes=_smdm_sizes,
    tensors={"wte": "transformer.wte", "ln_f": "transformer.ln_f", "ff_out": "lm_head"},
    block="transformer.h.{n}.",
    parts={
        "attn_norm": "norm_1",
        "q_proj": "attn.attn",
        "k_proj": "attn.attn",
        "v_proj": "attn.attn",
        "attn_out": "attn.proj",
        "ff_norm": "norm_2",
        "ff_proj": "mlp.swiglu.w1",
        "up_proj": "mlp.swiglu.w2",
        "ff_out": "mlp.swiglu.w3",
    },
    refused=(
        "shared_attention_norm", "lm_head_bias", "scale_embeddings", "norm_qk", "n_expert", "sliding_window_size",
        "rope_adjustments", "rope_scaling", "tie_word_embeddings", "weight_tying",
    ),
    grouped=True,
    head_lacks=1,
    mask_name="<mask>",
)  # fmt: skip
