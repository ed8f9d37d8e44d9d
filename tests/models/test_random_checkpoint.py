"""Random checkpoints have the published names and are read by the loader like any other."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open

from tests.checkpoints import dream_tensors, llada_tensors
from tests.families import FAMILIES, shapes
from warmexp.api import run_overrides
from warmexp.models.checkpoint import Checkpoint
from warmexp.models.layouts import LAYOUTS
from warmexp.models.published import SHAPES, TOKENS, published_config
from warmexp.models.random_checkpoint import main
from warmexp.models.transformer import Transformer

PUBLISHED = {"llada": llada_tensors, "dream": lambda: dream_tensors(heads=4, kv_heads=2)}


def tiny(layout, out, *more) -> list[str]:
    heads = ["--heads", "4", "--kv_heads", "4" if layout == "llada" else "2"]
    sizes = ["--d_model", "16", "--layers", "2", "--mlp", "32", "--rows", "264", *heads]
    return ["--layout", layout, "--out", str(out), *sizes, *more]


@pytest.mark.parametrize("layout", ["llada", "dream"])
def test_names_shapes_shards_and_index(layout, tmp_path, capsys):
    assert main(tiny(layout, tmp_path / "a", "--shard-gib", "0.00001")) == 0  # ten kilobytes
    index = json.loads((tmp_path / "a" / "model.safetensors.index.json").read_text())
    found = {}
    files = sorted(tmp_path.glob("a/*.safetensors"))
    for file in files:
        with safe_open(file, "pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                assert index["weight_map"][name] == file.name
                found[name] = tensors.get_tensor(name)
    assert len(files) == 3 and files[-1].name == f"model-{len(files):05d}-of-{len(files):05d}.safetensors"
    assert {n: t.shape for n, t in found.items()} == {n: t.shape for n, t in PUBLISHED[layout]().items()}
    assert {t.dtype for t in found.values()} == {torch.bfloat16}
    assert index["metadata"]["total_size"] == sum(2 * t.numel() for t in found.values())
    assert f"{layout} layout" in capsys.readouterr().out


@pytest.mark.parametrize("layout", ["llada", "dream"])
def test_it_runs_through_the_whole_path(layout, tmp_path):
    main(tiny(layout, tmp_path / "a"))
    words = [
        "backbone=checkpoint",
        f"backbone.path={tmp_path / 'a'}",
        "backbone.dtype=float32",
        "length.canvas_length=8",
    ]
    summary, _ = run_overrides(
        [*words, "length.block_length=4", "task.limit=2", "device=cpu", f"outputs={tmp_path}/out"]
    )
    assert summary["n"] == 2 and summary["status"] == "finished"
    backbone = Checkpoint(str(tmp_path / "a"))
    assert backbone.alignment == {"llada": "aligned", "dream": "shifted"}[layout]
    tokenizer = backbone.tokenizer
    assert tokenizer.decode(tokenizer.encode("what? 12")) == "what? 12"


@pytest.mark.parametrize("layout", ["llada", "dream"])
def test_a_table_that_is_long_enough_has_the_published_ids(layout, tmp_path):
    rows = str(SHAPES[layout]["rows"])
    main(["--layout", layout, "--out", str(tmp_path), "--d_model", "4", "--layers", "1", "--heads", "2", "--kv_heads", "1", "--mlp", "2",
          "--rows", rows])  # fmt: skip
    tokenizer = Checkpoint(str(tmp_path)).tokenizer
    assert {name: tokenizer.tokenizer.token_to_id(name) for name in TOKENS[layout]} == TOKENS[layout]


@pytest.mark.parametrize(
    ("layout", "numbers"),
    [
        ("llada", 8_015_581_184),
        ("dream", 7_615_616_512),
        ("sdar", 1_720_574_976),
        ("fast_dllm_v2", 1_543_714_304),
        ("llada_moe", 7_356_880_896),
        ("llada2", 16_255_643_392),
    ],
)
def test_the_default_is_the_published_size(layout, numbers):
    """LLaDA-8B's index says 16,031,162,368 bytes of bfloat16; Dream has the 7.62 billion numbers of Qwen2.5-7B, SDAR and
    Fast-dLLM v2 the 1.72 and 1.54 of Qwen3-1.7B and Qwen2.5-1.5B; LLaDA-MoE says 7, LLaDA2.0-mini 16."""
    with torch.device("meta"):
        published = published_config(layout, SHAPES[layout], "bfloat16", TOKENS[layout])
        model = Transformer(LAYOUTS[layout].config(published, ""))
    assert sum(p.numel() for p in model.parameters()) == numbers


def test_the_same_seed_writes_the_same_weights(tmp_path):
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        main(tiny("llada", tmp_path / name, "--seed", seed))
    one, two, three = ((tmp_path / n / "model-00001-of-00001.safetensors").read_bytes() for n in "abc")
    assert one == two != three


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--rows", "100"], "--rows 100 is too small"),
        (["--kv_heads", "3"], "do not divide"),
        ([], "not an empty folder"),
    ],
)
def test_what_cannot_be_written_is_said(tmp_path, capsys, change, said):
    out = tmp_path / "full"
    out.mkdir()
    if not change:
        (out / "something").touch()
    assert main(tiny("llada", out, *change)) == 2
    assert said in capsys.readouterr().err
    assert [p.name for p in out.iterdir()] == ([] if change else ["something"])


MORE = {
    "sdar": ["--head_dim", "8"],
    "fast_dllm_v2": [],
    "llada_moe": ["--experts", "8", "--chosen", "2", "--expert_mlp", "8"],
    "llada2": ["--experts", "16", "--chosen", "4", "--expert_mlp", "8", "--head_dim", "8"],
}


@pytest.mark.parametrize("layout", FAMILIES)
def test_the_newer_layouts(layout, tmp_path):
    """Their published names, and a run from the folder: block-causal ones with exact keys and values."""
    assert main([*tiny(layout, tmp_path / "a"), *MORE[layout]]) == 0
    found = {}
    for file in tmp_path.glob("a/*.safetensors"):
        with safe_open(file, "pt") as tensors:
            found |= {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    assert found == shapes(layout, json.loads((tmp_path / "a" / "config.json").read_text()))
    block = Checkpoint(str(tmp_path / "a")).config.attention_block
    words = [
        "backbone=checkpoint",
        f"backbone.path={tmp_path / 'a'}",
        "backbone.dtype=float32",
        "length.canvas_length=32",
    ]
    words += ["cache=exact", f"length.block_length={block}"] if block else ["length.block_length=8"]
    summary, _ = run_overrides([*words, "task.limit=1", "device=cpu", f"outputs={tmp_path}/out"])
    assert summary["n"] == 1 and ("nfe_without_commits_mean" in summary) == bool(block)


def test_a_size_that_a_layout_has_not_is_refused(tmp_path, capsys):
    assert main([*tiny("llada", tmp_path / "a"), "--experts", "8"]) == 2
    assert "--experts is no size of --layout llada" in capsys.readouterr().err


@pytest.mark.parametrize("layout", sorted(SHAPES))
def test_tiny(layout, tmp_path):
    """A small one of every layout is read, and whatever size is given besides is its own."""
    assert main(["--layout", layout, "--out", str(tmp_path / "a"), "--tiny", "--layers", "3"]) == 0
    config = Checkpoint(str(tmp_path / "a"), dtype="float32").load(torch.device("cpu")).transformer.config
    assert (config.d_model, config.n_layers, config.mlp_hidden_size) == (64, 3, 128)
    assert config.experts is None or config.experts.count == 16
