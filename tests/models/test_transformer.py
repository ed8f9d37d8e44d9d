"""The package's transformer and backbone against the independent float64 implementation, from the same published
weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.models import random_models
from tests.reference.transformer import PREFIX
from warmexp.models.backbone import Backbone

CLOSE = {"rtol": 1e-9, "atol": 1e-9}
PROFILE = settings(derandomize=True, deadline=None, database=None, max_examples=25)

SHAPES = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 9),
        "padded": st.sampled_from([0, 3]),
        "n_layers": st.integers(1, 2),
        "n_kv_heads": st.sampled_from([1, 2, 4]),
        "qkv_bias": st.booleans(),
        "bias": st.booleans(),
        "tying": st.booleans(),
        "attention_block": st.sampled_from([0, 0, 1, 3, 4]),
    }
)
SEQUENCES = st.lists(st.lists(st.integers(0, 15), min_size=2, max_size=12), min_size=1, max_size=4)


@PROFILE
@given(shape=SHAPES, ids=st.lists(st.integers(0, 15), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_hidden_states_and_logits(shape, ids, seed):
    """[T] ids, and [T, d] embeddings that are no token's, give the reference's logits."""
    transformer, reference = random_models(**shape)
    x = transformer.embed(torch.tensor([ids]))
    if shape["attention_block"]:
        return  # who sees whom is said by the backbone
    np.testing.assert_allclose(transformer(x)[0].numpy(), reference.hidden(reference.embed(ids)), **CLOSE)
    np.testing.assert_allclose(
        transformer.head(transformer(x))[0].numpy(), reference.logits(reference.embed(ids)), **CLOSE
    )
    x = torch.randn(1, len(ids), 16, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    np.testing.assert_allclose(transformer.head(transformer(x))[0].numpy(), reference.logits(x[0].numpy()), **CLOSE)


@PROFILE
@given(
    shape=SHAPES,
    rows=SEQUENCES,
    junk=st.integers(0, 15),
    alignment=st.sampled_from(["aligned", "shifted"]),
    embedded=st.booleans(),
)
def test_backbone_ignores_padding_and_aligns(shape, rows, junk, alignment, embedded):
    """Every wanted position of a right-padded batch of unequal rows, in a scrambled order, equals the row alone."""
    transformer, reference = random_models(**shape)
    backbone = Backbone(transformer, mask_id=15, eos_id=0, logits=alignment)
    width = max(map(len, rows)) + (junk % 3)
    ids = torch.tensor([row + [junk] * (width - len(row)) for row in rows])
    first = 1 if alignment == "shifted" else 0
    wanted = [(b, i) for b, row in enumerate(rows) for i in range(first, len(row))][::-1]
    row, position = (torch.tensor(column) for column in zip(*wanted, strict=True))
    embeddings = 0.5 * backbone.embed(ids) if embedded else None
    got = backbone(ids, torch.tensor([len(r) for r in rows]), row, position, embeddings)
    assert got.shape == (len(wanted), transformer.config.embedding_size)
    scale = 0.5 if embedded else 1.0
    alone = [reference.logits(scale * reference.embed(r)) for r in rows]
    expected = np.stack([alone[b][i - first] for b, i in wanted])
    np.testing.assert_allclose(got.numpy(), expected, **CLOSE)


@pytest.mark.parametrize("tying", [False, True])
def test_state_dict_has_the_published_names(tying):
    """model.transformer.… of the released checkpoint, with nothing missing and nothing extra."""
    _, reference = random_models(0, n_layers=2, tying=tying)
    parts = ["attn_norm", "q_proj", "k_proj", "v_proj", "attn_out", "ff_norm", "ff_proj", "up_proj", "ff_out"]
    names = {f"blocks.{n}.{part}.weight" for n in range(2) for part in parts} | {"wte.weight", "ln_f.weight"}
    names |= set() if tying else {"ff_out.weight"}
    assert set(reference.state) == {PREFIX + name for name in names}


@pytest.mark.parametrize(("qkv_bias", "bias"), [(False, False), (True, False), (False, True), (True, True)])
def test_which_projections_have_biases(qkv_bias, bias):
    """include_qkv_bias: queries, keys and values (Qwen2, Dream); include_bias: every projection of a block."""
    _, reference = random_models(0, qkv_bias=qkv_bias, bias=bias)
    parts = {"q_proj", "k_proj", "v_proj"} if qkv_bias or bias else set()
    parts |= {"attn_out", "ff_proj", "up_proj", "ff_out"} if bias else set()
    found = {key for key in reference.state if key.endswith(".bias") and ".blocks." in key}
    assert found == {f"{PREFIX}blocks.0.{part}.bias" for part in parts}


def test_rotary_positions_are_relative_and_per_row():
    """Moving a row by a constant changes nothing; [B, T] positions move each row on its own."""
    transformer, _ = random_models(1, n_layers=2)
    x = transformer.embed(torch.tensor([[3, 1, 4, 1], [5, 9, 2, 6]]))
    plain = transformer(x)
    shifted = transformer(x, positions=torch.arange(4) + torch.tensor([[7], [30]]))
    torch.testing.assert_close(shifted, plain, **CLOSE)
    stretched = transformer(x, positions=torch.stack((torch.arange(4), 3 * torch.arange(4))))
    torch.testing.assert_close(stretched[0], plain[0], **CLOSE)
    assert not torch.allclose(stretched[1], plain[1], **CLOSE)


def test_an_unknown_alignment_is_refused():
    transformer, _ = random_models(0)
    with pytest.raises(ValueError, match="sideways"):
        Backbone(transformer, mask_id=15, eos_id=0, logits="sideways")
