"""config.json field by field: what is meant is read, whatever version wrote it; what is another network, or no value at
all, is refused."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.checkpoints import (
    EOS,
    EOT,
    MASK,
    dream_config,
    dream_tensors,
    llada_config,
    llada_tensors,
    write_checkpoint,
    write_dream,
)
from warmexp.decode.forward import Forward
from warmexp.decode.meter import Meter
from warmexp.errors import UserError
from warmexp.models.checkpoint import Checkpoint
from warmexp.models.hub import model_folder

CPU = torch.device("cpu")
WRITERS = {
    "llada": (write_checkpoint, llada_config, llada_tensors),
    "dream": (write_dream, dream_config, dream_tensors),
}


def written(tmp_path, layout: str, name: str = "it", without: tuple[str, ...] = (), **fields):
    write, config, _ = WRITERS[layout]
    return write(tmp_path / name, config={**{k: v for k, v in config().items() if k not in without}, **fields})


def refusal(folder) -> str:
    """The sentence, and that it came within seconds and before the tokenizer or a weight was read."""
    started = time.monotonic()
    with pytest.raises(UserError) as said:
        Checkpoint(str(folder)).identity()
    assert time.monotonic() - started < 20
    assert "\n" not in str(said.value) and len(str(said.value)) < 600
    return str(said.value)


def logits(folder, **options):
    backbone = Checkpoint(str(folder), dtype="float64", logits="aligned", **options).load(CPU)
    return backbone(
        torch.tensor([[5, 9, MASK, 20]]), torch.tensor([4]), torch.zeros(4, dtype=torch.long), torch.arange(4)
    )


@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize(
    "kind", [{"rope_type": "default"}, {"type": "default"}, {}, {"rope_type": "default", "partial_rotary_factor": 1.0}]
)
def test_the_rotary_base_as_transformers_5_writes_it(tmp_path, layout, kind):
    old = written(tmp_path, layout, "old", rope_theta=777.0)
    new = written(
        tmp_path, layout, "new", without=("rope_theta", "rope_scaling"), rope_parameters={"rope_theta": 777.0, **kind}
    )
    assert Checkpoint(str(new)).config == Checkpoint(str(old)).config
    assert torch.equal(logits(new), logits(old))
    assert not torch.equal(logits(new), logits(written(tmp_path, layout, "other")))


@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("name", ["rope_parameters", "rope_scaling"])
@pytest.mark.parametrize(
    "value",
    [
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
        {"type": "linear", "factor": 2.0},
        {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0},
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
        {"rope_type": "default", "type": "yarn"},
        {"factor": 4.0},
        {"partial_rotary_factor": 0.5},
        {"full_attention": {"rope_type": "default", "rope_theta": 1e6}},
        "yarn",
        [],
        4,
    ],
)
def test_stretched_rotary_positions_are_refused(tmp_path, layout, name, value):
    assert f"config.json has {name}=" in refusal(written(tmp_path, layout, **{name: value}))


def test_two_rotary_bases_are_refused(tmp_path):
    said = refusal(
        written(tmp_path, "dream", rope_theta=1e6, rope_parameters={"rope_theta": 1e4, "rope_type": "default"})
    )
    assert "rope_theta=1e+06 and rope_parameters.rope_theta=10000, which differ" in said
    assert "lacks rope_theta" in refusal(written(tmp_path, "dream", "no", without=("rope_theta",)))
    assert (
        Checkpoint(str(written(tmp_path, "dream", "same", rope_parameters={"rope_theta": 1e6}))).config.rope_theta
        == 1e6
    )


@pytest.mark.parametrize(
    ("layout", "name", "value"),
    [
        ("llada", "rope_full_precision", False),
        ("llada", "multi_query_attention", True),
        ("llada", "clip_qkv", 8.0),
        ("llada", "quantization_config", {"quant_method": "bitsandbytes"}),
        ("dream", "quantization_config", {"quant_method": "fp8"}),
        ("dream", "layer_types", ["full_attention", "sliding_attention"]),
        ("dream", "head_dim", 8),
        ("dream", "partial_rotary_factor", 0.5),
        ("dream", "use_mrope", True),
    ],
)
def test_a_field_that_makes_it_another_network_is_refused(tmp_path, layout, name, value):
    assert f"config.json has {name}=" in refusal(written(tmp_path, layout, **{name: value}))


@pytest.mark.parametrize(
    ("layout", "fields"),
    [
        ("llada", {"rope_full_precision": True, "multi_query_attention": None, "clip_qkv": None, "n_kv_heads": None}),
        (
            "dream",
            {
                "layer_types": ["full_attention"] * 2,
                "head_dim": 4,
                "quantization_config": None,
                "num_key_value_heads": 2,
            },
        ),
    ],
)
def test_and_the_same_field_that_does_not_is_read(tmp_path, layout, fields):
    assert torch.equal(logits(written(tmp_path, layout, **fields)), logits(written(tmp_path, layout, "plain")))


COUNTS = {
    "llada": (
        "d_model",
        "n_layers",
        "n_heads",
        "n_kv_heads",
        "mlp_hidden_size",
        "vocab_size",
        "embedding_size",
        "max_sequence_length",
    ),
    "dream": (
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "intermediate_size",
        "vocab_size",
    ),
}
NO_COUNT = ["32", 0, -1, 2.0, True, [2], {}, 10**400, 2**31, float("nan"), float("inf")]


@pytest.mark.parametrize(("layout", "name"), [(layout, name) for layout, names in COUNTS.items() for name in names])
def test_counts_are_whole_numbers(tmp_path, layout, name):
    folder = written(tmp_path, layout)
    for value in NO_COUNT:
        (folder / "config.json").write_text(json.dumps({**WRITERS[layout][1](), name: value}))
        assert f"config.json has {name}=" in refusal(folder), value


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("rope_theta", ["1e4", 0, -10000.0, 1, True, float("nan"), float("inf"), [1e4], 10**400]),
        ("rms_norm_eps", ["1e-5", 0, -1e-5, 2, False, float("nan"), float("inf"), {}]),
        ("include_bias", ["false", 0, 1, [], "yes"]),
        ("weight_tying", ["false", 0, 1, {}]),
        ("mask_token_id", ["257", -1, 264, 1e9, True, [MASK], float("nan"), 10**400]),
        (
            "eos_token_id",
            ["256", -1, 264, 259, True, 1.0, [], [EOS, "258"], [EOS, 264], [[EOS]], {}, MASK, [EOS, MASK]],
        ),
    ],
)
def test_other_fields_have_their_types_too(tmp_path, name, values):
    folder = written(tmp_path, "llada")
    for value in values:
        (folder / "config.json").write_text(json.dumps({**llada_config(), name: value}))
        said = refusal(folder)
        assert f"config.json has {name}=" in said or (
            name == "eos_token_id" and "config.json has mask_token_id=" in said
        ), value


def test_several_ends_of_text(tmp_path):
    """The first fills up a response; each of them ends it, and none of them comes from text."""
    folder = written(tmp_path, "dream", eos_token_id=[EOS, EOT, EOS])
    backbone, tokenizer = Checkpoint(str(folder)).load(CPU), Checkpoint(str(folder)).tokenizer
    assert backbone.eos_id == EOS and backbone.end_ids == tokenizer.end_ids == (EOS, EOT)
    assert tokenizer.until_end([1, 2, EOT, 3, EOS]) == [1, 2]
    assert EOT not in tokenizer.encode("a<|im_end|>b")
    assert Checkpoint(str(folder), end_tokens=["<|im_end|>"]).tokenizer.end_ids == (EOS, EOT)


def test_a_billion_layers_are_refused_at_once(tmp_path):
    for layout, name in (("llada", "n_layers"), ("dream", "num_hidden_layers")):
        for value in (1, 3, 10**9):
            folder = written(tmp_path, layout, f"{layout}{value}", **{name: value})
            assert f"config.json has {value} layers and the weights 2" in refusal(folder)
            with pytest.raises(UserError, match="layers and the weights 2"):
                Checkpoint(str(folder)).load(CPU)


def test_sizes_are_compared_with_the_headers_before_anything_is_built(tmp_path):
    for name, value in (("d_model", 2**30), ("embedding_size", 2**30), ("mlp_hidden_size", 2**31 - 1)):
        folder = written(tmp_path, "llada", name, **{name: value})
        assert "mis-shaped: model.transformer." in refusal(folder)


def broken_index(folder, names: dict[str, str] | str) -> None:
    text = names if isinstance(names, str) else json.dumps({"metadata": {}, "weight_map": names})
    (folder / "model.safetensors.index.json").write_text(text)


@pytest.mark.parametrize(
    "index", [{"model.norm.weight": "model-00001-of-00007.safetensors"}, "{", "[]", '{"weight_map": {}}']
)
def test_an_index_left_behind_beside_a_whole_file_is_not_read(tmp_path, index):
    """As transformers does it: model.safetensors comes first."""
    folder = written(tmp_path, "llada")
    expected = logits(folder)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    save_file(llada_tensors(), folder / "model.safetensors")
    broken_index(folder, index)
    assert torch.equal(logits(folder), expected)


def test_an_index_that_counts_the_single_file_among_its_shards_is_read(tmp_path):
    folder, tensors = written(tmp_path, "llada"), llada_tensors()
    expected, names = logits(folder), sorted(tensors)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    halves = {"model.safetensors": names[::2], "more.safetensors": names[1::2]}
    for file, part in halves.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    broken_index(folder, {name: file for file, part in halves.items() for name in part})
    assert torch.equal(logits(folder), expected)


@pytest.mark.parametrize("value", [7, None, ["a"], "../../elsewhere.bin"])
def test_an_index_names_safetensors_files(tmp_path, value):
    folder = written(tmp_path, "llada")
    broken_index(folder, {"a": value})
    with pytest.raises(UserError, match="which is no safetensors file"):
        model_folder("backbone.path", str(folder))


def test_without_an_index_all_numbered_shards_must_be_there_and_none_twice(tmp_path):
    folder = written(tmp_path, "llada")
    expected = logits(folder)
    (folder / "model.safetensors.index.json").unlink()
    save_file({"lora_A": torch.ones(2)}, folder / "adapter_model.safetensors")
    assert torch.equal(logits(folder), expected)
    (folder / "model-00002-of-00002.safetensors").rename(folder / "other.safetensors")
    with pytest.raises(
        UserError, match=r"lacks model-00002-of-00002\.safetensors, which the other shards' names promise"
    ):
        model_folder("backbone.path", str(folder))
    (folder / "model-00001-of-00002.safetensors").rename(folder / "one.safetensors")
    assert torch.equal(logits(folder), expected)
    save_file({"model.transformer.ln_f.weight": torch.ones(16)}, folder / "two.safetensors")
    assert "is in" in refusal(folder) and "and in two.safetensors" in refusal(folder)


def changed(folder, layout: str, more: dict[str, torch.Tensor], **fields):
    """The folder with some more tensors in its first shard and other fields."""
    shard = sorted(folder.glob("*.safetensors"))[0]
    save_file({**load_file(shard), **more}, shard)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    broken_index(folder, index["weight_map"] | dict.fromkeys(more, shard.name))
    (folder / "config.json").write_text(json.dumps({**WRITERS[layout][1](), **fields}))
    return folder


def test_what_nobody_reads_may_stand_in_the_weights(tmp_path):
    folder = written(tmp_path, "dream")
    expected = logits(folder)
    more = {f"model.layers.{n}.self_attn.rotary_emb.inv_freq": torch.ones(2) for n in range(2)}
    assert torch.equal(logits(changed(folder, "dream", {**more, "model.rotary_emb.inv_freq": torch.ones(2)})), expected)


def test_a_tied_head_may_be_stored_if_it_is_the_same(tmp_path):
    tied = {"weight_tying": True}
    tensors = llada_tensors()
    table = tensors["model.transformer.wte.weight"]
    own = write_checkpoint(tmp_path / "own", {**tensors, "model.transformer.ff_out.weight": table.clone()})
    both = write_checkpoint(
        tmp_path / "both", {**tensors, "model.transformer.ff_out.weight": table.clone()}, {**llada_config(), **tied}
    )
    assert torch.equal(logits(both), logits(own))
    other = table.clone()
    other[200, 3] += 0.5
    folder = write_checkpoint(
        tmp_path / "other", {**tensors, "model.transformer.ff_out.weight": other}, {**llada_config(), **tied}
    )
    with pytest.raises(
        UserError,
        match=r"says that the head is the embedding table .* and model\.transformer\.ff_out\.weight is another",
    ):
        Checkpoint(str(folder)).load(CPU)


def test_an_adapter_alone_is_to_be_merged_first(tmp_path):
    folder = tmp_path / "lora"
    folder.mkdir()
    save_file(
        {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(2, 4)},
        folder / "adapter_model.safetensors",
    )
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "org/base"})
    )
    for key in ("backbone.path", "proposer.path"):
        with pytest.raises(
            UserError, match=rf"{key}=.* holds an adapter \(LoRA\) of org/base and no model: merge it first"
        ):
            model_folder(key, str(folder))
    (folder / "config.json").write_text(json.dumps(llada_config()))
    (folder / "adapter_config.json").write_text("[")
    with pytest.raises(UserError, match="of another model and no model: merge it first"):
        model_folder("backbone.path", str(folder))
    whole = changed(
        written(tmp_path, "llada"),
        "llada",
        {"model.transformer.blocks.0.q_proj.lora_A.default.weight": torch.ones(2, 16)},
    )
    assert "unexpected: " in refusal(whole) and "merge it first" in refusal(whole)


def test_ids_that_no_token_has_are_never_committed(tmp_path):
    """Rows 259 to 263 fill up the table. A text in them would be lost; here they have the largest logits by far."""
    tensors = llada_tensors()
    head = tensors["model.transformer.ff_out.weight"]
    head[259:] = 100 * head[10]
    head[263] = -head[259]
    folder = write_checkpoint(tmp_path / "model", tensors)
    backbone = Checkpoint(str(folder), dtype="float64").load(CPU)
    assert backbone.textless == ((259, 264),)
    ids, four, row = torch.tensor([[5, 9, MASK, 20]]), torch.tensor([4]), torch.zeros(4, dtype=torch.long)
    raw = backbone(ids, four, row, torch.arange(4))
    assert (raw.argmax(-1) >= 259).all()
    made = Meter(backbone).forward(Forward(ids, four.numpy(), four.numpy(), row.numpy(), np.arange(4)), ("q",))
    assert (made.argmax(-1) < 259).all() and torch.equal(made[:, :MASK], raw[:, :MASK].double())
    assert Checkpoint(str(folder)).identity()["textless"] == [[259, 264]]


def test_text_beyond_the_vocabulary_is_another_models(tmp_path):
    folder = written(tmp_path, "llada", vocab_size=200, eos_token_id=0)
    with pytest.raises(UserError, match=r"ids up to 255 for text and config\.json vocab_size=200"):
        Checkpoint(str(folder)).tokenizer  # noqa: B018


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "7",
        "null",
        '"text"',
        "{",
        "",
        "\x00",
        "[" * 100_000,
        '{"a": ' * 100_000,
        '{"n_layers": ' + "9" * 5000 + "}",
    ],
)
def test_a_config_that_is_no_object_is_one_sentence(tmp_path, text):
    folder = written(tmp_path, "llada")
    (folder / "config.json").write_text(text)
    assert "config.json of" in refusal(folder)


@pytest.mark.parametrize(
    "fields", [{"architectures": 7}, {"architectures": {}}, {"architectures": None}, {"architectures": "LLaDAModelLM"}]
)
def test_the_family_is_known_from_either_field(tmp_path, fields):
    assert Checkpoint(str(written(tmp_path, "llada", **fields))).layout.name == "LLaDA"
    assert "model_type=" in refusal(written(tmp_path, "llada", "none", model_type=["llada"], architectures=7))
