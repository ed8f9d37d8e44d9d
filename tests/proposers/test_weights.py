"""A proposer's folder holds the model its config.json tells of, or is refused: nothing is drawn at random in place of
what is missing."""

from __future__ import annotations

import json
import shutil
import time

import pytest
from safetensors.torch import load_file, save_file

from warmexp.errors import UserError
from warmexp.models.lab_files import model_path
from warmexp.proposers import hf
from warmexp.proposers.hf import Asked, HFProposer


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(hf, "_resident", {})
    return shutil.copytree(model_path("proposer_weak"), tmp_path / "proposer")


def refusal(folder) -> str:
    proposer = HFProposer(str(folder), max_new_tokens=2)
    with pytest.raises(UserError) as said:
        proposer.identity()
        list(proposer.propose([Asked("q", "1 + 1", "")], "cpu", 0, lambda *_: None))
    assert "\n" not in str(said.value)
    return str(said.value)


def configured(folder, **fields) -> None:
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(raw | fields))


@pytest.mark.parametrize(
    "fields",
    [{"num_hidden_layers": 10**9}, {"num_hidden_layers": 1e400}, {"text_config": {"num_hidden_layers": 10**9}}],
)
def test_a_billion_layers_are_refused_at_once(folder, fields):
    configured(folder, **fields)
    started = time.monotonic()
    assert "num_hidden_layers=" in refusal(folder) and time.monotonic() - started < 60


@pytest.mark.parametrize("fields", [{"num_labels": 10**9}, {"text_config": {"num_labels": 1e400}}])
def test_a_billion_labels_are_refused_at_once(folder, fields):
    """transformers makes a table of them, some 200 GB."""
    configured(folder, **fields)
    assert "and a causal language model has none" in refusal(folder)


@pytest.mark.parametrize("fields", [{"return_dict": False}, {"is_encoder_decoder": True}])
def test_how_it_was_saved_changes_nothing(folder, fields):
    asked = [Asked("q", "1 + 1", "")]

    def proposed() -> tuple:
        ((_, made),) = HFProposer(str(folder), max_new_tokens=2).propose(asked, "cpu", 0, lambda *_: None)
        return made.text, made.tokens

    plain = proposed()
    hf.free_models()
    configured(folder, **fields)
    assert proposed() == plain


def test_what_transformers_cannot_write_with_is_one_sentence(folder, monkeypatch):
    """A part of the library that fails is no defect of ours; memory that is full goes on to whoever halves the batch."""
    from transformers import LlamaForCausalLM

    def fails(*_, **__):
        raise AttributeError("no last_hidden_state")

    monkeypatch.setattr(LlamaForCausalLM, "forward", fails)
    said = refusal(folder)
    assert "cannot write with this version of transformers (AttributeError: no last_hidden_state)" in said


def test_a_tokenizer_that_cannot_encode_is_one_sentence(folder):
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "tokenizer_class": "BertTokenizer"}))
    assert "(Exception: WordPiece error" in refusal(folder)  # a stop string
    proposer = HFProposer(str(folder), max_new_tokens=2, stop=[])
    with pytest.raises(UserError, match="its tokenizer cannot encode the prompts"):
        list(proposer.propose([Asked("q", "Zoe \u00e9", "")], "cpu", 0, lambda *_: None))


def test_an_empty_stop_string_stops_nothing(folder):
    asked = [Asked("q", "1 + 1", "")]
    texts = [
        next(iter(HFProposer(str(folder), max_new_tokens=4, stop=stop).propose(asked, "cpu", 0, lambda *_: None)))[
            1
        ].text
        for stop in ([], [""], ["", "zzz"])
    ]
    assert texts[0] and len(set(texts)) == 1


@pytest.mark.parametrize("gone", ["lm_head.weight", "model.layers.1.mlp.up_proj.weight", "model.norm.weight"])
def test_what_is_missing_is_not_drawn_at_random(folder, gone):
    tensors = load_file(folder / "model.safetensors")
    del tensors[gone]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert f"the weights lack {gone}" in refusal(folder)


def test_a_layer_more_than_there_are_is_missing(folder):
    configured(folder, num_hidden_layers=3)
    assert "the weights lack model.layers.2." in refusal(folder)


def test_an_adapter_beside_the_weights_would_be_another_model(folder):
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "org/base"})
    )
    assert "has an adapter_config.json beside its weights" in refusal(folder)


def test_shipped_proposers_are_whole():
    for name in ("proposer_weak", "proposer_strong"):
        assert HFProposer(str(model_path(name))).identity()["model"]
