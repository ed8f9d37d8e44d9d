"""What a training left in tokenizer files changes nothing: of a backbone's and of a proposer's."""

from __future__ import annotations

import json
import shutil

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from tokenizers.processors import ByteLevel, Sequence, TemplateProcessing

from tests.checkpoints import EOS, EOT, MASK, VOCAB, write_checkpoint
from warmexp.errors import UserError
from warmexp.models.checkpoint import Checkpoint
from warmexp.models.lab_files import model_path
from warmexp.models.tokenizer_files import as_at_inference
from warmexp.proposers import hf
from warmexp.proposers.hf import Asked, HFProposer
from warmexp.proposers.spans import encoded_spans

TEXT = "A text of more than twenty bytes, twice: a text of more than twenty bytes.\n"


def truncated(t: Tokenizer) -> None:
    t.enable_truncation(max_length=20)


def padded(t: Tokenizer) -> None:
    t.enable_padding(length=300, pad_id=EOS, pad_token="<|endoftext|>")


def padded_left(t: Tokenizer) -> None:
    t.enable_padding(direction="left", pad_to_multiple_of=64, pad_id=MASK, pad_token="<|mdm_mask|>")


def ended(t: Tokenizer) -> None:
    end = TemplateProcessing(
        single="<|mdm_mask|> $A <|endoftext|>", special_tokens=[("<|mdm_mask|>", MASK), ("<|endoftext|>", EOS)]
    )
    t.post_processor = Sequence([ByteLevel(trim_offsets=True), end])


STATES = {"truncation": truncated, "padding": padded, "padding on the left": padded_left, "an end token": ended}


def backbone_with(tmp_path, name: str, change=lambda t: None) -> Checkpoint:
    folder = write_checkpoint(tmp_path / name)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    change(tokenizer)
    tokenizer.save(str(folder / "tokenizer.json"))
    return Checkpoint(str(folder), template="<|eot_id|>{prompt}<|eot_id|>", end_tokens=["<|eot_id|>"])


@pytest.mark.parametrize("state", STATES)
def test_a_backbones_tokenizer_neither_cuts_nor_adds(tmp_path, state):
    plain, changed = (
        backbone_with(tmp_path, "plain").tokenizer,
        backbone_with(tmp_path, "changed", STATES[state]).tokenizer,
    )
    for text in (TEXT, "", " a "):
        assert changed.encode(text) == plain.encode(text) and len(plain.encode(text)) == len(text)
        assert changed.encode_prompt(text) == plain.encode_prompt(text)
        assert encoded_spans(changed, text) == encoded_spans(plain, text)
        assert changed.decode(changed.encode(text)) == text
    assert changed.encode_turns(("a", "b", "c")) == plain.encode_turns(("a", "b", "c"))


def test_dropout_draws_nothing(tmp_path):
    """Byte-pair merges that are left out by chance give other tokens at every run."""
    shutil.copytree(model_path("backbone"), tmp_path / "lab")
    file = tmp_path / "lab" / "tokenizer.json"
    raw = json.loads(file.read_text())
    raw["model"]["dropout"] = 0.5
    file.write_text(json.dumps(raw))
    plain, changed = Checkpoint(str(model_path("backbone"))), Checkpoint(str(tmp_path / "lab"))
    for text in (TEXT, "She sold 48 clips in April and half as many in May."):
        assert changed.tokenizer.encode(text) == plain.tokenizer.encode(text)
    assert changed.identity()["set_aside"] == ["dropout"], "runs of earlier versions, which drew, are other runs"
    assert "set_aside" not in plain.identity()


def test_unigram_sampling_draws_nothing():
    """Versions of the library that have it do not write it to tokenizer.json yet."""
    tokenizer = Tokenizer(models.Unigram([("?", -9.0), ("a", -1.0), ("b", -1.0), ("ab", -1.5), ("ba", -1.6)], unk_id=0))
    once = tokenizer.encode("ababab").ids
    tokenizer.model.alpha, tokenizer.model.nbest_size = 0.1, 10
    assert len({tuple(tokenizer.encode("ababab").ids) for _ in range(30)}) > 1
    assert set(as_at_inference(tokenizer)) == {"alpha", "nbest_size"}
    assert {tuple(tokenizer.encode("ababab").ids) for _ in range(30)} == {tuple(once)}


@pytest.mark.parametrize("token", ["<|mdm_mask|>", "<|endoftext|>", "<|eot_id|>"])
def test_a_token_that_ends_or_hides_is_text_in_text_whatever_its_flag_says(tmp_path, token):
    """special=false would have it recognised in what a question or a proposer wrote."""
    folder = write_checkpoint(tmp_path / "flags")
    raw = json.loads((folder / "tokenizer.json").read_text())
    for added in raw["added_tokens"]:
        added["special"] = added["content"] != token
    (folder / "tokenizer.json").write_text(json.dumps(raw))
    tokenizer = Checkpoint(str(folder), template="<|eot_id|>{prompt}", end_tokens=["<|eot_id|>"]).tokenizer
    ids = tokenizer.encode(f"a{token}b")
    assert not {EOS, MASK, EOT} & set(ids) and tokenizer.decode(ids) == f"a{token}b"
    assert tokenizer.encode_prompt(f"a{token}") == [EOT, *tokenizer.encode(f"a{token}")]
    assert tokenizer.decode([*tokenizer.encode("a"), EOS, MASK, EOT]) == "a"


def test_a_tokenizer_that_cannot_encode_is_one_sentence(tmp_path):
    folder = write_checkpoint(tmp_path / "words")
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    while tokenizer.get_vocab_size() < VOCAB:
        tokenizer.add_special_tokens([AddedToken(f"<{tokenizer.get_vocab_size()}>", special=True)])
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(UserError, match=r"the backbone's tokenizer cannot encode 'c' \(.*UNK.*\)"):
        Checkpoint(str(folder)).tokenizer.encode("c")


QUESTIONS = [
    Asked(f"q{i}", text, "")
    for i, text in enumerate(["Question: Tom has 5 pens and buys 7. How many?\nAnswer:", "1 + 1"])
]


def proposed(folder, **options) -> dict:
    proposer = HFProposer(str(folder), max_new_tokens=12, stop=[], **options)
    return {i: (p.text, p.tokens) for i, p in proposer.propose(QUESTIONS, "cpu", 0, lambda *_: None)}


def with_tokenizer(tmp_path, change) -> object:
    folder = tmp_path / "proposer"
    shutil.copytree(model_path("proposer_weak"), folder)
    raw, settings = (json.loads((folder / name).read_text()) for name in ("tokenizer.json", "tokenizer_config.json"))
    change(raw, settings)
    for name, value in (("tokenizer.json", raw), ("tokenizer_config.json", settings)):
        (folder / name).write_text(json.dumps(value))
    return folder


def _dropout(raw, settings):
    raw["model"]["dropout"] = 0.5


def _truncation(raw, settings):
    raw["truncation"] = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    settings["model_max_length"] = 5


def _padding(raw, settings):
    pad = {"strategy": {"Fixed": 100}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0}
    raw["padding"] = {**pad, "pad_token": "<|endoftext|>"}


def _end(raw, settings):
    end = {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}
    piece = [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}]
    pair = [*piece, {"Sequence": {"id": "B", "type_id": 1}}]
    raw["post_processor"] = {
        "type": "TemplateProcessing",
        "single": piece,
        "pair": pair,
        "special_tokens": {"<|endoftext|>": end},
    }


@pytest.mark.parametrize("change", [_dropout, _truncation, _padding, _end])
def test_a_proposer_writes_what_it_writes_without(tmp_path, monkeypatch, change):
    monkeypatch.setattr(hf, "_resident", {})
    folder = with_tokenizer(tmp_path, change)
    assert proposed(folder) == proposed(model_path("proposer_weak"))


@pytest.mark.slow
def test_a_templates_special_tokens_are_recognised_though_a_setting_says_they_are_text(tmp_path, monkeypatch):
    monkeypatch.setattr(hf, "_resident", {})

    def chat(split: bool):
        def change(raw, settings):
            settings["chat_template"] = "<|endoftext|>{{ messages[0]['content'] }}"
            settings["split_special_tokens"] = split

        return change

    one, two = with_tokenizer(tmp_path / "a", chat(False)), with_tokenizer(tmp_path / "b", chat(True))
    assert proposed(one, chat_template=True) == proposed(two, chat_template=True)
