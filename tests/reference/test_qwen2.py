"""The reference for Dream's layout is transformers' Qwen2 with the causal mask taken away."""

from __future__ import annotations

import numpy as np
import torch

from tests.checkpoints import dream_config, dream_tensors
from tests.reference.qwen2 import ReferenceQwen2


def test_it_is_qwen2_without_the_causal_mask():
    from transformers import Qwen2Config, Qwen2ForCausalLM

    names = (
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "intermediate_size",
        "vocab_size",
    )
    published = dream_config()
    config = Qwen2Config(
        **{
            name: published[name] for name in (*names, "rms_norm_eps", "tie_word_embeddings", "max_position_embeddings")
        },
        rope_parameters={"rope_type": "default", "rope_theta": published["rope_theta"]},
        attn_implementation="eager",
    )
    model = Qwen2ForCausalLM(config).double().eval()
    tensors = dream_tensors()
    model.load_state_dict({name: tensor.double() for name, tensor in tensors.items()}, strict=True)
    reference = ReferenceQwen2({k: v.numpy() for k, v in tensors.items()}, n_heads=4, n_kv_heads=2)
    ids = [5, 200, 257, 31, 31, 8, 257]
    with torch.no_grad():
        everywhere = torch.zeros(1, 1, len(ids), len(ids), dtype=torch.float64)
        said = model(input_ids=torch.tensor([ids]), attention_mask=everywhere, use_cache=False).logits[0]
    # transformers computes the rotary angles in float32
    np.testing.assert_allclose(reference.logits(reference.embed(ids)), said.numpy(), rtol=0, atol=2e-5)
