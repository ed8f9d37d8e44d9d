"""Packed weights: the same products, where there is a faster library for them."""

from __future__ import annotations

import pytest
import torch

from tests.reference.models import random_models
from warmexp.bench.subject import Subject, random_backbone
from warmexp.models.linear import FEWEST, ROWS, Linear, packs

PACKS = packs(torch.zeros(1, dtype=torch.float32))
needs_packing = pytest.mark.skipif(not PACKS, reason="needs an x86 processor with AVX-512")


@needs_packing
@torch.inference_mode()
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 5, 16, 80])
def test_a_packed_product(bias, rows):
    layer = Linear(48, 70, bias=bias)
    x = torch.randn(2, rows, 48, generator=torch.Generator().manual_seed(rows))
    plain, weight = layer(x), layer.weight.clone()
    layer.pack()
    assert layer.weight.is_mkldnn and layer.weight.to_dense().equal(weight)
    torch.testing.assert_close(layer(x), plain)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_left_alone(dtype):
    assert not packs(torch.zeros(1, dtype=dtype))
    assert random_models(0)[0].pack().rows == FEWEST


@needs_packing
@torch.inference_mode()
@pytest.mark.parametrize("logits", ["aligned", "shifted"])
def test_a_packed_backbone(logits):
    """Rows of any number and length, padded to a multiple of what the products like, say what they say unpacked."""
    packed = random_backbone("tiny", torch.float32, torch.device("cpu"), logits=logits)
    assert packed.transformer.rows == ROWS
    plain = Subject("tiny", packed, None, None, None).published
    assert plain.transformer.rows == 1 and not any(p.is_mkldnn for p in plain.transformer.parameters())
    generator = torch.Generator().manual_seed(0)
    for lengths in ([7], [8], [3, 5], [9, 9, 2], [4] * 5):
        ids = torch.randint(100, (len(lengths), max(lengths)), generator=generator)
        row = torch.arange(len(lengths)).repeat_interleave(2)
        position = torch.tensor([p for n in lengths for p in (n - 1, 1)])
        given = (ids, torch.tensor(lengths), row, position)
        assert packed._padding(*ids.shape) < ROWS
        torch.testing.assert_close(packed(*given), plain(*given), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("wanted", [1, 2, 3, 5])
def test_a_row_is_the_same_to_the_last_bit_whatever_its_batch(wanted, dtype):
    """Also where one row asks for so few states that torch would sum their products in another order."""
    backbone = random_backbone("tiny", dtype, torch.device("cpu"))
    assert backbone.transformer.rows == (ROWS if PACKS and dtype == torch.float32 else FEWEST)
    ids = torch.randint(100, (12, 16), generator=torch.Generator().manual_seed(wanted))
    row, position = torch.arange(12).repeat_interleave(wanted), torch.arange(3, 3 + wanted).repeat(12)
    together = backbone(ids, torch.full((12,), 16), row, position)
    for i in range(12):
        alone = backbone(ids[i : i + 1], torch.tensor([16]), row[:wanted], position[:wanted])
        assert alone.equal(together[i * wanted : (i + 1) * wanted])
