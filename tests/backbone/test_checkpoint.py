"""Checkpoints in LLaDA's published layout load, give an independent implementation's logits, and name what is wrong with them."""

from __future__ import annotations

import pytest
import torch

from tests.checkpoints import EOS, EOT, MASK, llada_config, llada_tensors, write_checkpoint
from tests.reference.transformer import ReferenceTransformer, Sizes
from warmexp.backbone.checkpoint import LLaDACheckpoint, load_transformer, read_config
from warmexp.errors import UserError


def load(folder, **options):
    return LLaDACheckpoint(str(folder), dtype="float64", **options).load(torch.device("cpu"))


def broken(tmp_path, change) -> str:
    """The sentence for a checkpoint whose tensors were changed."""
    tensors = llada_tensors()
    change(tensors)
    folder = write_checkpoint(tmp_path / "broken", tensors)
    with pytest.raises(UserError) as said:
        load(folder)
    return str(said.value)


def test_missing_unexpected_and_misshaped_weights_are_named(tmp_path):
    def change(tensors):
        del tensors["model.transformer.blocks.1.up_proj.weight"]
        tensors["model.transformer.blocks.0.q_proj.bias"] = torch.zeros(16)
        tensors["model.transformer.ln_f.weight"] = torch.ones(17)

    said = broken(tmp_path, change)
    assert "missing: model.transformer.blocks.1.up_proj.weight" in said
    assert "unexpected: model.transformer.blocks.0.q_proj.bias" in said
    assert "mis-shaped: model.transformer.ln_f.weight [17] instead of [16]" in said


def test_a_truncated_shard_is_named(tmp_path):
    folder = write_checkpoint(tmp_path / "cut")
    shard = folder / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"model-00002-of-00002\.safetensors cannot be read"):
        load(folder)


@pytest.mark.parametrize(("field", "value"), [("activation_type", "gelu"), ("block_type", "sequential"), ("rope", False)])
def test_another_architecture_is_refused(tmp_path, field, value):
    folder = write_checkpoint(tmp_path / "other", config={**llada_config(), field: value})
    with pytest.raises(UserError, match=field):
        load(folder)


def test_a_config_of_another_family_is_refused(tmp_path):
    folder = write_checkpoint(tmp_path / "gpt", config={"model_type": "gpt2", "n_embd": 16})
    with pytest.raises(UserError, match="lacks d_model"):
        load(folder)


def test_a_vocabulary_without_a_mask_token_is_refused(tmp_path):
    folder = write_checkpoint(tmp_path / "maskless", config={**llada_config(), "mask_token_id": 263})
    with pytest.raises(UserError, match="no mask token"):
        load(folder)


@pytest.mark.parametrize("alignment", ["aligned", "shifted"])
def test_logits_are_those_of_the_independent_implementation(checkpoint, alignment):
    """Ids and input embeddings, two rows of different lengths in one batch, float64."""
    backbone = load(checkpoint, logits=alignment)
    reference = ReferenceTransformer({k: v.numpy() for k, v in llada_tensors().items()}, Sizes(n_heads=2, n_kv_heads=2))
    rows = [[5, 9, MASK, 20, MASK], [7, MASK, 3]]
    padded = torch.tensor([row + [0] * (5 - len(row)) for row in rows])
    lengths = torch.tensor([5, 3])
    offset = 0 if alignment == "aligned" else 1
    picked = [(r, i) for r, row in enumerate(rows) for i in range(1, len(row))]
    row, position = (torch.tensor(x) for x in zip(*picked, strict=True))
    by_ids = backbone(padded, lengths, row, position)
    by_embeddings = backbone(padded, lengths, row, position, backbone.embed(padded))
    expected = torch.stack([torch.tensor(reference.logits(reference.embed(rows[r])))[i - offset] for r, i in picked])
    torch.testing.assert_close(by_ids, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(by_embeddings, expected, rtol=0, atol=1e-10)


def test_padding_content_is_never_seen(checkpoint):
    backbone = load(checkpoint)
    lengths, row, position = torch.tensor([5, 3]), torch.tensor([1]), torch.tensor([2])
    one = backbone(torch.tensor([[1, 2, 3, 4, 5], [7, 8, 9, 0, 0]]), lengths, row, position)
    two = backbone(torch.tensor([[1, 2, 3, 4, 5], [7, 8, 9, 99, 98]]), lengths, row, position)
    assert torch.equal(one, two)


def test_the_dtype_is_the_one_asked_for(checkpoint):
    model = load_transformer(checkpoint, read_config(checkpoint), torch.bfloat16, torch.device("cpu"))
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_special_tokens_in_text_are_text(checkpoint):
    tokenizer = LLaDACheckpoint(str(checkpoint), end_tokens=["<|eot_id|>"], template="<|eot_id|>{prompt}<|eot_id|>").tokenizer
    text = "a<|mdm_mask|>b<|endoftext|>"
    ids = tokenizer.encode(text)
    assert not {EOS, MASK, EOT} & set(ids)
    assert tokenizer.decode(ids) == text
    prompt = tokenizer.encode_prompt(text)
    assert prompt[0] == prompt[-1] == EOT and prompt[1:-1] == ids
    assert tokenizer.until_end([1, 2, EOT, 3, EOS]) == [1, 2]
    assert tokenizer.until_end([1, 2]) == [1, 2]


def test_the_fingerprint_is_that_of_the_content(tmp_path):
    from warmexp.hub import fingerprint

    one, two = write_checkpoint(tmp_path / "one"), write_checkpoint(tmp_path / "two")
    other = write_checkpoint(tmp_path / "other", llada_tensors(seed=1))
    assert fingerprint(one) == fingerprint(two) != fingerprint(other)
