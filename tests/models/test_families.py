"""Checkpoints exactly as SDAR, Fast-dLLM v2, LLaDA-MoE and LLaDA2 publish them, against an independent float64
implementation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.families import BLOCKS, FAMILIES, SHIFTS, write_family
from tests.reference.families import ReferenceFamily
from warmexp.errors import UserError
from warmexp.models.checkpoint import Checkpoint
from warmexp.models.experts import Experts, ExpertsConfig
from warmexp.models.layout import targets
from warmexp.models.layouts import LAYOUTS
from warmexp.models.plain import PlainBackbone

CPU = torch.device("cpu")
CLOSE = {"rtol": 1e-9, "atol": 1e-9}
# What else the modelling code of a family knows.
VARIANTS = {
    "sdar": [{}, {"tie_word_embeddings": True, "block_size": 8, "head_dim": 6}],
    "fast_dllm_v2": [{}, {"tie_word_embeddings": False}],
    "llada_moe": [{}, {"shared_expert_intermediate_size": 10, "moe_layer_freq": [1, 1], "qk_layernorm": False}],
    "llada2": [{}, {"first_k_dense_replace": 0, "num_shared_experts": 2, "n_group": 2, "topk_group": 1, "num_experts_per_tok": 4}],
}  # fmt: skip
CASES = [(family, changes) for family in FAMILIES for changes in VARIANTS[family]]


@pytest.mark.parametrize(("family", "changes"), CASES)
def test_logits(tmp_path, family, changes):
    """Of rows of unequal lengths in one batch, of the plain engine, and with attention blocks of several sizes."""
    folder, tensors, config = write_family(tmp_path, family, **changes)
    draw = np.random.default_rng(0)
    rows = [draw.integers(0, 255, n).tolist() for n in (11, 5, 38)]
    width, shift = max(map(len, rows)), SHIFTS[family]
    for block in ("auto", 3):
        checkpoint = Checkpoint(str(folder), dtype="float64", attention_block=block)
        size = config.get("block_size") or BLOCKS[family] if block == "auto" else block
        assert checkpoint.config.attention_block == size
        reference = ReferenceFamily({k: v.numpy() for k, v in tensors.items()}, config, size)
        expected = np.concatenate([reference.logits(row)[: len(row) - shift] for row in rows])
        ids = torch.tensor([row + [7] * (width - len(row)) for row in rows])
        row = torch.tensor([b for b, ids in enumerate(rows) for _ in range(len(ids) - shift)])
        position = torch.tensor([i for ids in rows for i in range(shift, len(ids))])
        loaded = checkpoint.load(CPU)
        for backbone in (loaded, PlainBackbone(**vars(loaded))):
            said = backbone(ids, torch.tensor([len(r) for r in rows]), row, position)
            np.testing.assert_allclose(said.numpy(), expected, **CLOSE)


@pytest.mark.parametrize("family", FAMILIES)
def test_ids_and_blocks_are_the_family_s_where_config_json_says_nothing(tmp_path, family):
    published = {
        "sdar": (151669, 151643),
        "fast_dllm_v2": (151665, 151645),
        "llada_moe": (156895, 156892),
        "llada2": (156895, 156892),
    }
    gone = {"mask_token_id": ..., "eos_token_id": ..., "pad_token_id": ..., "block_size": ..., "bd_size": ...}
    _, _, config = write_family(tmp_path, family, vocab_size=300, **gone)
    made = LAYOUTS[family].config({**config, "vocab_size": 157184}, "")
    assert (made.mask_token_id, made.eos_token_id) == published[family]
    assert made.attention_block == {"sdar": 4}.get(family, BLOCKS[family])


REFUSED = [
    ("sdar", "attention_bias", True), ("sdar", "use_sliding_window", True), ("sdar", "quantization_config", {"bits": 4}),
    ("sdar", "block_size", 0), ("fast_dllm_v2", "layer_types", ["sliding_attention"] * 2), ("fast_dllm_v2", "hidden_act", "gelu"),
    ("llada_moe", "norm_topk_prob", True), ("llada_moe", "moe_router_enable_expert_bias", True), ("llada_moe", "clip_qkv", 8.0),
    ("llada_moe", "moe_router_score_function", "sigmoid"), ("llada_moe", "routed_scaling_factor", 2.5), ("llada_moe", "moe_layer_freq", [1]),
    ("llada_moe", "partial_rotary_factor", 0.5), ("llada2", "use_bias", True), ("llada2", "norm_head", True),
    ("llada2", "score_function", "softmax"), ("llada2", "norm_topk_prob", False), ("llada2", "rotary_dim", 8), ("llada2", "n_group", 3),
    ("llada2", "delete_token_id", 5), ("llada2", "num_nextn_predict_layers", 1), ("llada2", "use_qk_norm", False),
]  # fmt: skip


@pytest.mark.parametrize(("family", "name", "value"), REFUSED)
def test_what_it_does_not_have_is_refused_by_name(family, name, value):
    from tests.families import CONFIGS

    shown = "num_experts_per_tok" if name == "n_group" else name
    with pytest.raises(UserError, match=rf"it: config.json has {shown}="):
        LAYOUTS[family].config(CONFIGS[family] | {name: value}, "it")


def test_weights_that_are_not_all_there(tmp_path):
    folder, tensors, config = write_family(tmp_path / "a", "llada2")
    from tests.checkpoints import write_weights

    write_weights(folder, {k: v for k, v in tensors.items() if "experts.3.up_proj" not in k}, config, shards=3)
    with pytest.raises(UserError, match=r"missing: model.layers.1.mlp.experts.3.up_proj.weight"):
        Checkpoint(str(folder)).load(CPU)
    fused = "model.layers.0.attention.query_key_value.weight"
    write_weights(folder, tensors | {fused: tensors[fused][:-1]}, config, shards=3)
    with pytest.raises(UserError, match=r"query_key_value.weight \[63, 16\] instead of \[64, 16\]"):
        Checkpoint(str(folder)).load(CPU)
    write_weights(folder, tensors, config | {"num_experts": 2**30, "n_group": 4}, shards=3)
    with pytest.raises(UserError, match="more than the weights have tensors"):
        Checkpoint(str(folder)).load(CPU)


def test_a_router_s_bias_stays_wide(tmp_path):
    folder, *_ = write_family(tmp_path, "llada2")
    transformer = Checkpoint(str(folder), dtype="bfloat16").load(CPU).transformer
    router = transformer.blocks[1].experts.router
    assert (router.bias.dtype, router.weight.dtype) == (torch.float32, torch.bfloat16)
    assert transformer.blocks[1].experts.ff_proj.weight.dtype == torch.bfloat16


def test_every_published_name_is_one_of_ours(tmp_path):
    for family in FAMILIES:
        _, tensors, config = write_family(tmp_path / family, family)
        from warmexp.models.transformer import Transformer

        ours = Transformer(LAYOUTS[family].config(config, "")).state_dict()
        made = targets(LAYOUTS[family], {name: t.shape for name, t in ours.items()})
        assert {name: t.shape for name, t in made.items()} == {name: tuple(t.shape) for name, t in tensors.items()}


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_an_expert_layer_does_not_mix_positions(scores):
    """A row is the same to the last bit whatever its neighbours are (with as many rows as Backbone sees to, and widths
    that fill a vector), and what the papers write down for one."""
    config = ExpertsConfig(32, 3, 32, shared=32, scores=scores, bias=scores == "sigmoid", groups=4, chosen_groups=2)
    layer = Experts(16, config)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(parameter.numel()))
    x = torch.randn(40, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        together = layer(x)
        for n in (4, 8, 20):
            assert torch.equal(layer(x[:n]), together[:n])
        wide = layer.double()
        expected = torch.stack([wide.one(position) for position in x.double()])
        torch.testing.assert_close(wide(x.double()), expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(wide(x.double().view(1, 40, 16))[0], expected, rtol=1e-12, atol=1e-12)
