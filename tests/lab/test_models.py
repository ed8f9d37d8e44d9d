"""The shipped files: LLaDA's layout for the backbone, three complete folders, and small enough to ship."""

import json

import pytest
from safetensors import safe_open

from warmexp.models.lab_files import MODELS, MODELS_DIR, model_path

LIMIT_ALL, LIMIT_ONE = 12_000_000, 6_000 * 1024
BLOCK_KEYS = ("attn_norm", "q_proj", "k_proj", "v_proj", "attn_out", "ff_norm", "ff_proj", "up_proj", "ff_out")


def test_unknown_model_names_the_choices():
    with pytest.raises(ValueError, match="backbone, proposer_weak, proposer_strong"):
        model_path("large")


@pytest.mark.parametrize("name", MODELS)
def test_folder_is_complete(name):
    names = {f.name for f in model_path(name).iterdir()}
    assert {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
    } <= names


def test_sizes():
    sizes = [f.stat().st_size for f in MODELS_DIR.rglob("*") if f.is_file()]
    assert sum(sizes) <= LIMIT_ALL and max(sizes) < LIMIT_ONE


def test_backbone_has_the_published_keys_and_shapes():
    folder = model_path("backbone")
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "llada" and config["architectures"] == ["LLaDAModelLM"]
    assert (config["activation_type"], config["block_type"], config["layer_norm_type"], config["rope"]) == (
        "silu",
        "llama",
        "rms",
        True,
    )
    d, mlp, rows = config["d_model"], config["mlp_hidden_size"], config["embedding_size"]
    kv = d // config["n_heads"] * config["n_kv_heads"]
    shapes = {"attn_norm": [d], "q_proj": [d, d], "k_proj": [kv, d], "v_proj": [kv, d], "attn_out": [d, d]}
    shapes |= {"ff_norm": [d], "ff_proj": [mlp, d], "up_proj": [mlp, d], "ff_out": [d, mlp]}
    expected = {"wte": [rows, d], "ln_f": [d], "ff_out": [rows, d]}
    expected |= {f"blocks.{n}.{key}": shapes[key] for n in range(config["n_layers"]) for key in BLOCK_KEYS}
    with safe_open(folder / "model.safetensors", "pt") as file:
        found = {key: file.get_slice(key) for key in list(file.keys())}
        assert {k: s.get_shape() for k, s in found.items()} == {
            f"model.transformer.{k}.weight": s for k, s in expected.items()
        }
        assert {s.get_dtype() for s in found.values()} == {"BF16"}
    assert config["max_sequence_length"] == 1024 and config["vocab_size"] <= rows
    assert config["mask_token_id"] < config["vocab_size"] > config["eos_token_id"] == config["pad_token_id"]
