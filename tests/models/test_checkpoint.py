"""Checkpoints in both published layouts load, give independent implementations' logits, and name what is wrong with
them."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.checkpoints import (
    EOS,
    MASK,
    dream_config,
    dream_tensors,
    llada_config,
    llada_tensors,
    write_checkpoint,
    write_dream,
)
from tests.reference.qwen2 import ReferenceQwen2
from tests.reference.transformer import ReferenceTransformer, Sizes
from warmexp.errors import UserError
from warmexp.models import weights
from warmexp.models.checkpoint import Checkpoint
from warmexp.models.hub import fingerprint

CPU = torch.device("cpu")
EXACT = {"rtol": 0, "atol": 1e-10}
ROWS = [[5, 9, MASK, 20, MASK], [7, MASK, 3], [MASK, EOS, 250, 99]]


def load(folder, **options):
    return Checkpoint(str(folder), dtype="float64", **options).load(CPU)


@pytest.fixture(scope="module", params=["llada", "dream", "dream tied"])
def family(request, tmp_path_factory):
    """A checkpoint folder, the independent model with the same weights, and the alignment that `auto` must find."""
    folder = tmp_path_factory.mktemp(request.param.replace(" ", "_"))
    if request.param == "llada":
        tensors = llada_tensors()
        reference = ReferenceTransformer({k: v.numpy() for k, v in tensors.items()}, Sizes(n_heads=2, n_kv_heads=2))
        return write_checkpoint(folder, tensors), reference, "aligned"
    tied = request.param.endswith("tied")
    tensors = dream_tensors(tied=tied)
    reference = ReferenceQwen2({k: v.numpy() for k, v in tensors.items()}, n_heads=4, n_kv_heads=2)
    return write_dream(folder, tensors, {**dream_config(), "tie_word_embeddings": tied}), reference, "shifted"


@pytest.mark.parametrize("logits", ["auto", "aligned", "shifted"])
@pytest.mark.parametrize("embedded", [False, True])
def test_logits_are_those_of_the_independent_implementation(family, logits, embedded):
    """Ids, and embeddings that are no token's; rows of unequal length padded on the right in one batch."""
    folder, reference, own = family
    backbone = load(folder, logits=logits)
    offset = {"aligned": 0, "shifted": 1}[own if logits == "auto" else logits]
    ids = torch.tensor([row + [0] * (7 - len(row)) for row in ROWS])
    wanted = [(r, i) for r, row in enumerate(ROWS) for i in range(1, len(row))][::-1]
    row, position = (torch.tensor(column) for column in zip(*wanted, strict=True))
    scale = 0.7 if embedded else 1.0
    embeddings = scale * backbone.embed(ids) if embedded else None
    got = backbone(ids, torch.tensor([len(r) for r in ROWS]), row, position, embeddings)
    alone = [reference.logits(scale * reference.embed(r)) for r in ROWS]
    np.testing.assert_allclose(got.numpy(), np.stack([alone[r][i - offset] for r, i in wanted]), **EXACT)


def test_padding_on_the_left_through_positions(family):
    """The transformer takes a row's own positions, so that padding may also stand before it."""
    folder, reference, _ = family
    transformer = load(folder).transformer
    width = 8
    ids = torch.tensor([[99] * (width - len(row)) + row for row in ROWS])
    starts = torch.tensor([width - len(row) for row in ROWS])
    columns = torch.arange(width)
    hidden = transformer(
        transformer.embed(ids), (columns >= starts[:, None])[:, None, None, :], (columns - starts[:, None]).clamp(min=0)
    )
    for r, row in enumerate(ROWS):
        got = transformer.head(hidden[r, starts[r] :])
        np.testing.assert_allclose(got.numpy(), reference.logits(reference.embed(row)), **EXACT)


def test_the_rope_factor_multiplies_the_base(family):
    """λ = 1 is the published model, λ = 4 the reference with four times the base; the limit of the prompt grows with
    it."""
    folder, reference, _ = family
    row = list(range(60, 75))
    ids, lengths = torch.tensor([row]), torch.tensor([15])
    rows, positions = torch.zeros(15, dtype=torch.long), torch.arange(15)
    plain = load(folder, logits="aligned")(ids, lengths, rows, positions)
    assert torch.equal(load(folder, logits="aligned", rope_factor=1)(ids, lengths, rows, positions), plain)
    stretched = load(folder, logits="aligned", rope_factor=4)(ids, lengths, rows, positions)
    other = type(reference)(reference.state, **_sizes(reference, 4))
    np.testing.assert_allclose(stretched.numpy(), other.logits(other.embed(row)), **EXACT)
    assert not torch.allclose(stretched, plain, atol=1e-3)
    one, four = Checkpoint(str(folder)), Checkpoint(str(folder), rope_factor=4)
    assert one.identity() != four.identity()
    assert four.config.max_sequence_length > one.config.max_sequence_length


def _sizes(reference, factor):
    if isinstance(reference, ReferenceTransformer):
        return {"sizes": dataclasses.replace(reference.sizes, rope_theta=factor * reference.sizes.rope_theta)}
    return {"n_heads": 4, "n_kv_heads": 2, "rope_theta": factor * reference.rope_theta}


def test_padding_content_is_never_seen(family):
    backbone = load(family[0])
    lengths, row, position = torch.tensor([5, 3]), torch.tensor([1]), torch.tensor([2])
    one = backbone(torch.tensor([[1, 2, 3, 4, 5], [7, 8, 9, 0, 0]]), lengths, row, position)
    two = backbone(torch.tensor([[1, 2, 3, 4, 5], [7, 8, 9, 99, 98]]), lengths, row, position)
    assert torch.equal(one, two)


def test_the_dtype_is_the_one_asked_for(family):
    backbone = Checkpoint(str(family[0]), dtype="bfloat16").load(CPU)
    assert {p.dtype for p in backbone.transformer.parameters()} == {torch.bfloat16}


def test_the_identity_says_what_was_resolved(family):
    folder, _, own = family
    identity = Checkpoint(str(folder)).identity()
    assert identity["logits"] == own and identity["revision"] is None and identity["rope_factor"] == 1.0
    assert identity == Checkpoint(str(folder), logits=own, end_tokens=[]).identity()
    assert identity != Checkpoint(str(folder), dtype="bfloat16").identity()


def broken(folder, tensors, change, write=write_checkpoint) -> str:
    """The sentence for a checkpoint whose tensors were changed."""
    change(tensors)
    with pytest.raises(UserError) as said:
        load(write(folder, tensors))
    assert "\n" not in str(said.value)
    return str(said.value)


def test_missing_unexpected_and_misshaped_weights_are_named(tmp_path):
    def change(tensors):
        del tensors["model.transformer.blocks.1.up_proj.weight"]
        tensors["model.transformer.blocks.0.q_proj.bias"] = torch.zeros(16)
        tensors["model.transformer.ln_f.weight"] = torch.ones(17)

    said = broken(tmp_path / "llada", llada_tensors(), change)
    assert "missing: model.transformer.blocks.1.up_proj.weight;" in said
    assert "unexpected: model.transformer.blocks.0.q_proj.bias;" in said
    assert "mis-shaped: model.transformer.ln_f.weight [17] instead of [16]" in said


def test_and_under_the_names_of_the_other_layout(tmp_path):
    def change(tensors):
        del tensors["model.layers.1.self_attn.v_proj.bias"]
        tensors["model.layers.0.self_attn.o_proj.bias"] = torch.zeros(16)
        tensors["model.norm.weight"] = torch.ones(17)
        tensors["model.layers.0.mlp.up_proj.weight"] = tensors["model.layers.0.mlp.up_proj.weight"].to(torch.int8)

    said = broken(tmp_path / "dream", dream_tensors(), change, write_dream)
    assert "missing: model.layers.1.self_attn.v_proj.bias;" in said
    assert "unexpected: model.layers.0.self_attn.o_proj.bias;" in said
    assert "mis-shaped: model.norm.weight [17] instead of [16]" in said
    assert "quantized: model.layers.0.mlp.up_proj.weight (I8)" in said


def test_a_truncated_shard_is_named_before_anything_is_loaded(tmp_path, monkeypatch):
    folder = write_checkpoint(tmp_path / "cut")
    shard = folder / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    monkeypatch.setattr(weights, "_check_memory", lambda *_: pytest.fail("went on after a truncated shard"))
    with pytest.raises(UserError, match=r"model-00002-of-00002\.safetensors cannot be read .* download it again"):
        load(folder)


def test_a_shard_the_index_names_must_be_there(tmp_path):
    folder = write_checkpoint(tmp_path / "gone")
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(
        UserError, match=r"lacks model-00002-of-00002\.safetensors, which its model\.safetensors\.index\.json names"
    ):
        Checkpoint(str(folder)).config  # noqa: B018 (known before anything is loaded)


def test_only_the_shards_of_the_index_are_read(tmp_path):
    """A stray file with the same tensors (some repositories hold a second copy) changes nothing."""
    folder = write_checkpoint(tmp_path / "stray")
    wrong = {name: torch.zeros_like(tensor) for name, tensor in llada_tensors().items()}
    save_file(wrong, folder / "consolidated.safetensors")
    assert load(folder).transformer.wte.weight.abs().sum() > 0


@pytest.mark.parametrize("layout", ["llada", "dream"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_memory_needed_and_free_are_both_told(tmp_path, monkeypatch, layout, dtype):
    folder = (write_checkpoint if layout == "llada" else write_dream)(tmp_path / layout)
    tensors = llada_tensors() if layout == "llada" else dream_tensors()
    numbers = sum(t.numel() for t in tensors.values())
    # converted to bfloat16, the largest tensor is also there in the type it is stored in
    needed = 4 * numbers if dtype == "float32" else 2 * numbers + 4 * max(t.numel() for t in tensors.values())
    monkeypatch.setattr(weights, "GIB", 1)  # so that the numbers in the sentence are bytes
    monkeypatch.setattr(weights, "free_memory", lambda _: needed - 1)
    with pytest.raises(
        UserError, match=rf"need {needed}\.0 GiB in {dtype} and cpu has {needed - 1}\.0 GiB free"
    ) as said:
        Checkpoint(str(folder), dtype=dtype).load(CPU)
    assert ("backbone.dtype=bfloat16" in str(said.value)) == (dtype == "float32")
    for free in (needed, None):  # enough; unknown
        monkeypatch.setattr(weights, "free_memory", lambda _, free=free: free)
        Checkpoint(str(folder), dtype=dtype).load(CPU)


def test_free_host_memory_is_known_here():
    assert 1 << 20 < weights.free_memory(CPU) < 1 << 50


@pytest.mark.parametrize(
    ("write", "config", "field", "value"),
    [
        (write_checkpoint, llada_config, "activation_type", "gelu"),
        (write_checkpoint, llada_config, "block_type", "sequential"),
        (write_checkpoint, llada_config, "rope", False),
        (write_checkpoint, llada_config, "attention_layer_norm", True),
        (write_dream, dream_config, "hidden_act", "gelu"),
        (write_dream, dream_config, "use_sliding_window", True),
        (write_dream, dream_config, "rope_scaling", {"type": "yarn", "factor": 4.0}),
    ],
)
def test_another_architecture_is_refused(tmp_path, write, config, field, value):
    folder = write(tmp_path / "other", config={**config(), field: value})
    with pytest.raises(UserError, match=rf"config\.json has {field}={re.escape(repr(value))}, only"):
        load(folder)


@pytest.mark.parametrize(
    "kind", [{"model_type": "gpt2", "n_embd": 16}, {**llada_config(), "model_type": "llada_moe", "architectures": []}]
)
def test_another_family_is_refused(tmp_path, kind):
    folder = write_checkpoint(tmp_path / "gpt", config=kind)
    with pytest.raises(
        UserError,
        match=rf"model_type={kind['model_type']}; .* LLaDA \(model_type llada\), Dream \(model_type Dream\), SDAR",
    ):
        load(folder)


@pytest.mark.parametrize(
    ("write", "config", "field"),
    [(write_checkpoint, llada_config, "d_model"), (write_dream, dream_config, "mask_token_id")],
)
def test_a_missing_size_is_named(tmp_path, write, config, field):
    folder = write(tmp_path / "less", config={k: v for k, v in config().items() if k != field})
    with pytest.raises(UserError, match=rf"config\.json lacks {field}"):
        load(folder)


def test_sizes_that_do_not_divide_are_refused(tmp_path):
    folder = write_dream(tmp_path / "odd", config={**dream_config(), "num_key_value_heads": 3})
    with pytest.raises(UserError, match="do not divide"):
        load(folder)


def test_a_vocabulary_without_a_mask_token_is_refused(tmp_path):
    for folder in (
        write_checkpoint(tmp_path / "llada", config={**llada_config(), "mask_token_id": 263}),
        write_dream(tmp_path / "dream", config={**dream_config(), "mask_token_id": 263}),
    ):
        with pytest.raises(UserError, match="no mask token"):
            load(folder)


@pytest.mark.parametrize("value", [0.5, 0, -1, float("nan")])
def test_a_rope_factor_below_one_is_refused(value):
    with pytest.raises(UserError, match=r"backbone\.rope_factor="):
        Checkpoint("anywhere", rope_factor=value)


def test_code_that_comes_with_a_checkpoint_is_never_run(family, tmp_path):
    """config.json and tokenizer_config.json point to Python files; importing them would leave a trace and raise."""
    folder = family[0]
    raw = json.loads((folder / "config.json").read_text())
    raw["auto_map"] = {
        "AutoConfig": "configuration_evil.C",
        "AutoModel": "modeling_evil.M",
        "AutoModelForCausalLM": "modeling_evil.M",
    }
    (folder / "config.json").write_text(json.dumps(raw))
    trace = tmp_path / "was_run"
    evil = f"open({str(trace)!r}, 'w').close()\nraise SystemExit('code from a checkpoint was run')\n"
    for name in ("modeling_evil", "configuration_evil", "tokenization_dream", "__init__"):
        (folder / f"{name}.py").write_text(evil)
    chosen = Checkpoint(str(folder))
    assert chosen.tokenizer.encode("a b") and chosen.identity() and chosen.load(CPU)
    assert not trace.exists()


def test_the_fingerprint_is_that_of_the_content(tmp_path):
    one, two = write_checkpoint(tmp_path / "one"), write_checkpoint(tmp_path / "two")
    other = write_checkpoint(tmp_path / "other", llada_tensors(seed=1))
    assert fingerprint(one) == fingerprint(two) != fingerprint(other)
