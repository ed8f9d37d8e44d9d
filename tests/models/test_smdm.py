"""SMDM's checkpoints in exactly the published format, against an independent float64 implementation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tests.reference.smdm import ReferenceSmdm
from tests.smdm import BOS, CONFIG, EOS, MASK, WORDS, llama_tokenizer, tensors, write_smdm
from warmexp.api import run_overrides
from warmexp.errors import UserError
from warmexp.models.checkpoint import Checkpoint
from warmexp.models.layout import targets
from warmexp.models.layouts import LAYOUTS
from warmexp.models.plain import PlainBackbone
from warmexp.models.published import SHAPES, TOKENS, published_config
from warmexp.models.random_checkpoint import main
from warmexp.models.transformer import Transformer

CPU = torch.device("cpu")
SMDM = LAYOUTS["smdm"]
# Every released model has a key head for each query head; the modelling code knows fewer, too. The last has a
# vocabulary that is filled up.
VARIANTS = [{}, {"n_query_groups": 2}, {"n_query_groups": 1, "padding_multiple": 64, "mask_token_id": 260}]


@pytest.mark.parametrize("changes", VARIANTS)
def test_logits(tmp_path, changes):
    """Of rows of unequal lengths in one batch, masks among them, and of the plain engine."""
    folder, made, config = write_smdm(tmp_path, **changes)
    draw = np.random.default_rng(0)
    rows = [draw.integers(0, WORDS + 1, n).tolist() for n in (11, 5, 38)]
    reference = ReferenceSmdm({name: t.numpy() for name, t in made.items()}, config)
    expected = np.concatenate([reference.logits(row) for row in rows])
    width = max(map(len, rows))
    ids = torch.tensor([row + [7] * (width - len(row)) for row in rows])
    row = torch.tensor([b for b, ids in enumerate(rows) for _ in ids])
    position = torch.tensor([i for ids in rows for i in range(len(ids))])
    loaded = Checkpoint(str(folder), dtype="float64").load(CPU)
    for backbone in (loaded, PlainBackbone(**vars(loaded))):
        said = backbone(ids, torch.tensor([len(r) for r in rows]), row, position)
        np.testing.assert_allclose(said[:, : expected.shape[1]].numpy(), expected, rtol=1e-9, atol=1e-9)
        ruled = backbone.rule_out(said)
        assert ruled[:, WORDS:].isinf().all() and ruled[:, :WORDS].isfinite().all()  # neither mask nor what fills up


def test_every_published_name_is_one_of_ours():
    for changes in VARIANTS:
        model = Transformer(SMDM.config(CONFIG | changes, ""))
        ours = {name: tensor.shape for name, tensor in model.state_dict().items()}
        made = targets(SMDM, ours, model.config.n_kv_heads)
        there = {name: tuple(t.shape) for name, t in tensors(CONFIG | changes).items()}
        assert {name: t.shape for name, t in made.items()} == there


def test_the_tokenizer_gets_its_mask(tmp_path):
    """Llama's has none: it is the id behind its last. Spelled out in a question it is text."""
    folder, *_ = write_smdm(tmp_path)
    checkpoint = Checkpoint(str(folder), template="<s>{prompt}")
    tokenizer = checkpoint.tokenizer
    assert (tokenizer.mask_id, tokenizer.eos_id, tokenizer.piece(MASK)) == (MASK, EOS, "<mask>")
    plain = llama_tokenizer()
    said = "what? 12 <mask>"
    plain.encode_special_tokens = True
    assert tokenizer.encode_prompt(said) == [BOS, *plain.encode(said, add_special_tokens=False).ids]
    assert tokenizer.decode(tokenizer.encode(said)) == said
    assert checkpoint.identity()["textless"] == [[MASK, MASK + 1]]
    other = llama_tokenizer()
    other.add_tokens(["word"])
    other.save(str(folder / "tokenizer.json"))
    with pytest.raises(UserError, match=r"mask_token_id=260, .* a token of text"):
        _ = Checkpoint(str(folder)).tokenizer


REFUSED = [
    ("rotary_percentage", 0.25), ("condense_ratio", 2), ("parallel_residual", True), ("bias", True), ("_mlp_class", "GptNeoxMLP"),
    ("_norm_class", "LayerNorm"), ("shared_attention_norm", True), ("rope_base", 500000), ("head_size", 16), ("lm_head_bias", True),
    ("n_expert", 8), ("padded_vocab_size", 100), ("mask_token_id", 300), ("eos_token_id", WORDS), ("norm_eps", 0),
    ("quantization_config", {"bits": 4}), ("tie_word_embeddings", True),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_what_it_does_not_have_is_refused_by_name(name, value):
    with pytest.raises(UserError, match=rf"it: config.json has {name}="):
        SMDM.config(CONFIG | {name: value}, "it")


@pytest.mark.parametrize("name", ["rotary_percentage", "parallel_residual", "bias", "_norm_class", "_mlp_class"])
def test_what_lit_gpt_would_take_for_an_absent_field_is_another_network(name):
    with pytest.raises(UserError, match=f"config.json lacks {name}"):
        SMDM.config({key: value for key, value in CONFIG.items() if key != name}, "it")


def test_ids_where_config_json_says_nothing():
    whole = CONFIG | {"vocab_size": 32000, "mask_token_id": None, "eos_token_id": None}
    made = SMDM.config(whole, "")
    assert (made.mask_token_id, made.eos_token_id, made.embedding_size, made.vocab_size) == (32000, 2, 32001, 32000)


def test_weights_that_do_not_fit_are_said(tmp_path):
    folder, made, _ = write_smdm(tmp_path)
    rows = made["lm_head.weight"]
    save_file(made | {"lm_head.weight": torch.cat((rows, rows[:1]))}, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"lm_head.weight \[261, 32\] instead of \[260, 32\]"):
        Checkpoint(str(folder)).load(CPU)
    table = made["transformer.wte.weight"][:-1].clone()  # an autoregressive model's, which has no mask
    save_file(made | {"transformer.wte.weight": table}, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"transformer.wte.weight \[260, 32\] instead of \[261, 32\]"):
        Checkpoint(str(folder)).load(CPU)


def test_the_page_s_config_json_is_the_published_one():
    """docs/models.md gives it for copying: the 1028M model's sizes, and the parameters after which it is named."""
    page = Path(__file__).parents[2] / "docs" / "models.md"
    given = json.loads(re.search(r"```json\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)[1])
    made = SMDM.config(given, "")
    assert made == SMDM.config(published_config("smdm", SHAPES["smdm"], "bfloat16", TOKENS["smdm"]), "")
    with torch.device("meta"):
        ours = {name: t.shape for name, t in Transformer(made).state_dict().items()}
    numbers = {name: int(np.prod(t.shape)) for name, t in targets(SMDM, ours, made.n_kv_heads).items()}
    matrices = sum(n for name, n in numbers.items() if ".attn." in name or ".mlp." in name)
    assert round(matrices / 1e6) == 1028
    assert numbers["lm_head.weight"] == 32000 * 1792 and numbers["transformer.wte.weight"] == 32001 * 1792


def test_random_weights_run_with_guidance(tmp_path):
    """A folder of random weights, decoded as SMDM's samplers do: one block, guided by the canvas without its prompt."""
    sizes = ["--d_model", "16", "--layers", "2", "--mlp", "32", "--rows", "264", "--heads", "4", "--kv_heads", "4"]
    assert main(["--layout", "smdm", "--out", str(tmp_path / "a"), *sizes]) == 0
    with safe_open(tmp_path / "a" / "model-00001-of-00001.safetensors", "pt") as file:
        assert file.get_slice("lm_head.weight").get_shape() == [263, 16]
        assert file.get_slice("transformer.wte.weight").get_shape() == [264, 16]
    words = [
        "backbone=smdm_1b",
        f"backbone.path={tmp_path / 'a'}",
        "backbone.dtype=float32",
        "draft=cfg",
        "draft.weight=0.6",
    ]
    words += [
        "length.canvas_length=8",
        "length.block_length=8",
        "task.limit=2",
        "device=cpu",
        f"outputs={tmp_path}/out",
    ]
    summary, _ = run_overrides(words)
    assert summary["n"] == 2 and summary["status"] == "finished"


def test_random_weights_of_the_published_ids(tmp_path):
    small = ["--d_model", "4", "--layers", "1", "--heads", "2", "--kv_heads", "1", "--mlp", "2"]
    assert main(["--layout", "smdm", "--out", str(tmp_path), *small]) == 0
    checkpoint = Checkpoint(str(tmp_path), template="<s>{prompt}")
    ids = checkpoint.tokenizer.encode_prompt("Why?")
    assert (ids[0], checkpoint.config.mask_token_id, checkpoint.config.eos_token_id) == (1, 32000, 2)
    assert checkpoint.tokenizer.decode(ids) == "Why?"
    assert checkpoint.load(CPU).vocabulary == 32001
