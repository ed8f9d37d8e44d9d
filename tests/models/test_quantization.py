"""Linear layers in 8 and 4 bits: the numbers that an independent implementation computes, in all that a run does with
them, and one sentence for what cannot be quantized."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.checkpoints import MASK, dream_config, dream_tensors, write_dream, write_weights
from tests.families import BLOCKS, write_family
from tests.reference.families import ReferenceFamily
from tests.reference.quantized import product, rounded, untied
from tests.reference.qwen2 import ReferenceQwen2
from warmexp.api import planned
from warmexp.errors import UserError
from warmexp.models import experts, quantization
from warmexp.models.checkpoint import Checkpoint
from warmexp.models.linear import FEWEST, Linear, packs
from warmexp.models.plain import PlainBackbone
from warmexp.models.quantization import GROUP, made_bytes, quantize, stored_bytes
from warmexp.models.transformer import parameters
from warmexp.runs.footprint import Footprint
from warmexp.runs.run import free_own_backbone, run

CPU = torch.device("cpu")
KINDS = ("int8", "int4", "int8_dynamic")
SIZES = {"d": 2 * GROUP, "mlp": 3 * GROUP, "heads": 4, "kv_heads": 2}


@pytest.fixture(autouse=True)
def installed(request):
    if "absent" not in request.node.name:
        pytest.importorskip("torchao", reason="could not import 'torchao'")


def is_quantized(name: str) -> bool:
    return ".layers." in name and name.endswith("proj.weight")


@pytest.fixture(scope="module")
def tensors():
    """Dream's: queries, keys and values have biases. No number is at half a step."""
    found = dream_tensors(**SIZES)
    return {
        name: torch.from_numpy(untied(untied(w.numpy(), GROUP), w.shape[1])).float() if is_quantized(name) else w
        for name, w in found.items()
    }


@pytest.fixture(scope="module")
def folder(tensors, tmp_path_factory):
    return write_dream(tmp_path_factory.mktemp("dream"), tensors, dream_config(**SIZES))


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer(kind):
    """Rows and groups of very different size, so that a scale of anything else is seen."""
    generator = np.random.default_rng(0)
    weight = generator.normal(size=(24, 96)) * np.exp(generator.normal(size=(24, 96 // GROUP))).repeat(GROUP, 1)
    weight = untied(weight, GROUP if kind == "int4" else 96)
    x = untied(generator.normal(size=(10, 96)) * np.exp(generator.normal(size=(10, 1))), 96)
    bias = generator.normal(size=24)
    layer = Linear(96, 24)
    layer.weight.copy_(torch.from_numpy(weight)), layer.bias.copy_(torch.from_numpy(bias))

    class Model(torch.nn.Module):
        blocks = torch.nn.ModuleList([layer])
        wte = torch.nn.Embedding(1, 1)

    quantize(Model(), kind)
    assert not packs(layer.weight)
    expected = product(x, weight, kind, bias)
    got = layer(torch.from_numpy(x).float().view(2, 5, 96)).flatten(0, 1)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-4, atol=1e-4)
    assert np.abs(expected - (x @ weight.T + bias)).max() > 0.005  # and is not what it was before


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_a_backbone_is_quantized_in_its_blocks_linear_layers_alone(kind, tensors, folder):
    bits, group = (4, GROUP) if kind == "int4" else (8, None)
    changed = {
        name: rounded(w.numpy(), bits, group or w.shape[1]) if is_quantized(name) else w.double().numpy()
        for name, w in tensors.items()
    }
    references = [
        ReferenceQwen2(one, n_heads=4, n_kv_heads=2)
        for one in (changed, {name: w.double().numpy() for name, w in tensors.items()})
    ]
    backbone = Checkpoint(str(folder), dtype="float32", quantization=kind, logits="aligned").load(CPU)
    assert backbone.transformer.rows >= FEWEST and backbone.dtype == torch.float32
    ids = [5, 9, MASK, 20, MASK, 3]
    got = backbone(torch.tensor([ids]), torch.tensor([6]), torch.zeros(6, dtype=torch.long), torch.arange(6)).numpy()
    own, before = (reference.logits(reference.embed(ids)) for reference in references)
    np.testing.assert_allclose(got, own, rtol=1e-3, atol=1e-3)
    assert np.abs(own - before).max() > 0.02


# Widths of whole groups, in all that is quantized.
EXPERTS = {
    "llada_moe": {"expert_intermediate_size": GROUP, "dense_intermediate_size": 3 * GROUP, "shared_expert_intermediate_size": GROUP},
    "llada2": {"moe_intermediate_size": GROUP, "intermediate_size": 3 * GROUP, "head_dim": 16, "rotary_dim": 8},
}  # fmt: skip


@pytest.fixture(scope="module", params=EXPERTS)
def mixture(request, tmp_path_factory):
    """Its family, folder, tensors and config.json; no number is at half a step."""
    family = request.param
    sizes = {"hidden_size": 2 * GROUP, **EXPERTS[family]}
    folder, tensors, config = write_family(tmp_path_factory.mktemp(family), family, **sizes)
    made = {
        name: torch.from_numpy(untied(untied(w.numpy(), GROUP), w.shape[1])).float() if in_mixture(name, w) else w
        for name, w in tensors.items()
    }
    write_weights(folder, made, config, shards=2)
    return family, folder, made, config


def in_mixture(name: str, w: torch.Tensor) -> bool:
    return ".layers." in name and w.ndim == 2 and "mlp.gate.weight" not in name


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_every_expert_is_quantized_like_a_layer_and_the_router_is_not(kind, mixture):
    family, folder, tensors, config = mixture
    bits, group = (4, GROUP) if kind == "int4" else (8, None)
    changed = {
        name: rounded(w.numpy(), bits, group or w.shape[1]) if in_mixture(name, w) else w.numpy()
        for name, w in tensors.items()
    }
    ids = np.random.default_rng(0).integers(0, 255, 7).tolist()
    own, before = (
        ReferenceFamily(state, config, BLOCKS[family]).logits(ids)
        for state in (changed, {name: w.numpy() for name, w in tensors.items()})
    )
    backbone = Checkpoint(str(folder), dtype="float32", quantization=kind).load(CPU)
    given = torch.tensor([ids]), torch.tensor([7]), torch.zeros(7, dtype=torch.long), torch.arange(7)
    for one in (backbone, PlainBackbone(**vars(backbone))):
        np.testing.assert_allclose(one(*given).numpy(), own, rtol=1e-3, atol=1e-3)
    assert np.abs(own - before).max() > 0.02


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_one_product_for_all_experts_is_the_loop_over_them(kind, mixture, monkeypatch):
    """As on a GPU, in bfloat16; integers are multiplied expert by expert there too."""
    layer = Checkpoint(str(mixture[1]), dtype="bfloat16", quantization=kind).load(CPU).transformer.blocks[1].experts
    x = torch.randn(40, 2 * GROUP, generator=torch.Generator().manual_seed(0)).bfloat16()
    looped, products, own = layer(x), [], torch._grouped_mm
    monkeypatch.setattr(experts, "grouped", lambda x: True)
    monkeypatch.setattr(torch, "_grouped_mm", lambda *given: products.append(1) or own(*given))
    np.testing.assert_allclose(layer(x).float().numpy(), looped.float().numpy(), rtol=0.05, atol=0.05)
    assert len(products) == (0 if kind == "int8_dynamic" else 3) and looped.float().abs().max() > 1


def test_the_widths_of_experts_are_looked_at_too(tmp_path):
    folder, *_ = write_family(tmp_path, "llada2", hidden_size=64, intermediate_size=64)
    with pytest.raises(UserError, match="this LLaDA2 has layers of 6 inputs: choose "):
        Checkpoint(str(folder), dtype="float32", quantization="int4").load(CPU)


def words(folder, outputs, *more: str) -> list[str]:
    return [
        "backbone=checkpoint", f"backbone.path={folder}", "backbone.dtype=float32", "length.canvas_length=16", "length.block_length=8",
        "proposer=oracle", "proposer.corruption=0.3", "init=token_inject", "rho=0.5", "remask=linear", "remask.bias=-0.6", "tau=0.5",
        "task.limit=5", "device=cpu", f"outputs={outputs}", *more,
    ]  # fmt: skip


def records(folder, outputs, *more: str) -> list[dict]:
    plan = planned(words(folder, outputs, *more))
    free_own_backbone()
    run(plan, say=lambda _: None)
    rows = [json.loads(line) for line in (plan.folder / "records.jsonl").read_text().splitlines()]
    left_out = ("seconds", "seconds_forward", "remembered_forwards")
    assert len(rows) == 5
    return sorted(({k: v for k, v in r.items() if k not in left_out} for r in rows), key=lambda r: r["id"])


@pytest.mark.parametrize("kind", KINDS)
def test_records_are_the_same_whatever_the_batch_size_and_sharing(kind, folder, quiet_home):
    same_records(kind, folder, quiet_home)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_records_with_experts_too(kind, mixture, quiet_home):
    same_records(kind, mixture[1], quiet_home)


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_what_experts_say_does_not_depend_on_the_other_rows(kind, mixture):
    backbone = Checkpoint(str(mixture[1]), dtype="float32", quantization=kind).load(CPU)
    ids = torch.randint(0, 255, (4, 9), generator=torch.Generator().manual_seed(0))
    row, position = torch.arange(4).repeat_interleave(9), torch.arange(9).repeat(4)
    together = backbone(ids, torch.full((4,), 9), row, position).unflatten(0, (4, 9))
    for one, said in zip(ids, together, strict=True):
        alone = backbone(one[None], torch.tensor([9]), torch.zeros(9, dtype=torch.long), torch.arange(9))
        assert torch.equal(alone, said)


def same_records(kind, folder, quiet_home):
    more = f"backbone.quantization={kind}"
    one = records(folder, quiet_home / "one", more, "batch_size=1", "share=false")
    assert one == records(folder, quiet_home / "four", more, "batch_size=4", "share=false")
    assert one == records(folder, quiet_home / "shared", more, "batch_size=4")
    plain = records(folder, quiet_home / "plain", more, "engine=plain")
    assert [r["ids"] for r in plain] == [r["ids"] for r in one]
    whole = records(folder, quiet_home / "whole", "batch_size=4", "share=false")
    assert [r["nats"] for r in whole] != [r["nats"] for r in one]


def test_it_is_part_of_the_identity_where_it_changes_something(folder, quiet_home):
    assert Checkpoint(str(folder)).identity() == Checkpoint(str(folder), quantization="none").identity()
    assert "quantization" not in Checkpoint(str(folder)).identity()
    plans = [planned(words(folder, quiet_home, f"backbone.quantization={kind}")) for kind in ("none", *KINDS)]
    assert len({plan.run_id for plan in plans}) == 4
    assert [plan.identity["backbone"].get("quantization") for plan in plans] == [
        None, "int8", "int4 in groups of 32", "int8_dynamic",
    ]  # fmt: skip


def held_by(checkpoint: Checkpoint) -> int:
    held = 0
    for parameter in checkpoint.load(CPU).transformer.parameters():
        parts = [parameter] if type(parameter) is torch.nn.Parameter else [
            getattr(parameter, name) for name in ("qdata", "scale", "zero_point")
        ]  # fmt: skip
        held += sum(part.numel() * part.element_size() for part in parts)
    return held


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_as_predicted(kind, folder):
    checkpoint = Checkpoint(str(folder), dtype="bfloat16", quantization=kind)
    held = held_by(checkpoint)
    assert stored_bytes(kind, checkpoint.config, parameters(checkpoint.config), torch.bfloat16) == held
    assert made_bytes(kind, checkpoint.config, torch.bfloat16) == {"int8": 1, "int4": 2}.get(kind, 0) * 2 * 64 * 96
    plan = planned(words(folder, "x", f"backbone.quantization={kind}"))
    sizes = [
        Footprint(plan.backbone.config, plan.strategies, 40, torch.float32, CPU, one).bytes(2) for one in ("none", kind)
    ]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("kind", KINDS)
def test_memory_of_experts_is_as_predicted(kind, mixture):
    checkpoint = Checkpoint(str(mixture[1]), dtype="bfloat16", quantization=kind)
    weights = parameters(checkpoint.config)
    saved = weights * 2 - stored_bytes(kind, checkpoint.config, weights, torch.bfloat16)
    assert saved == held_by(Checkpoint(str(mixture[1]), dtype="bfloat16")) - held_by(checkpoint)
    copies = {"int8": 1, "int4": 2}.get(kind, 0)
    assert made_bytes(kind, checkpoint.config, torch.bfloat16) == copies * 2 * 64 * 96
    assert made_bytes(kind, checkpoint.config, torch.bfloat16, True) == copies * 2 * 8 * 32 * 64
    plan = planned(words(mixture[1], "x", f"backbone.quantization={kind}", "backbone.dtype=bfloat16"))
    made = [
        Footprint(plan.backbone.config, plan.strategies, 40, torch.bfloat16, torch.device(one), kind).parts(2)
        for one in ("cpu", "cuda")
    ]
    assert [one["a dequantized layer"] for one in made] == [copies * 2 * 64 * 96, copies * 2 * 8 * 32 * 64]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("backbone.quantization=int3", "backbone.quantization=int3 is not one of none, int8, int4, int8_dynamic"),
        ("backbone.quantization=int8 backbone.dtype=float64", "backbone.quantization=int8 does not go with backbone.dtype=float64 (it would be float32's results): choose backbone.dtype=float32 or bfloat16."),
        ("backbone.quantization=int8 backbone.dtype=float16", "does not go with backbone.dtype=float16 (sums of int8 numbers pass float16's 65504)"),
        ("backbone.quantization=int4 engine=graphs", "engine=graphs is not made for backbone.quantization=int4, whose forwards were never recorded on a GPU: choose engine=fast, or backbone.quantization=none."),
    ],
)  # fmt: skip
def test_what_is_refused(more, said, folder):
    with pytest.raises(UserError, match=re.escape(said)):
        planned(words(folder, "x", *more.split()))


def test_int4_needs_whole_groups(checkpoint):
    """A width of 16."""
    said = "backbone.quantization=int4 has a scale for every 32 inputs and this LLaDA has layers of 16 inputs"
    with pytest.raises(UserError, match=said):
        planned(words(checkpoint, "x", "backbone.quantization=int4"))


def test_int8_products_that_are_not_exact_are_refused(folder, monkeypatch):
    """As on a processor that adds pairs of products in 16 bits."""
    import torchao.kernel

    monkeypatch.setattr(torchao.kernel, "int_scaled_matmul", lambda a, b, s: torch.full((32, 32), -32768.0 * 32))
    with pytest.raises(
        UserError, match=r"products of int8 numbers are not exact on device=cpu: choose backbone\.quant"
    ):
        Checkpoint(str(folder), dtype="float32", quantization="int8_dynamic").load(CPU)


def test_an_absent_package_is_named_before_anything_is_loaded(monkeypatch):
    monkeypatch.setattr(quantization, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=re.escape("needs a package: pip install 'warmexp[quantization]'.")):
        Checkpoint("anywhere", quantization="int8")
    assert Checkpoint("anywhere").quantization == "none"


QUANTIZES = "from warmexp.models.quantization import _torchao; _torchao()"
PROPOSES = "from warmexp.api import planned; planned(['init=token_inject', 'proposer=lab_weak']).proposer._load('cpu')"


@pytest.mark.parametrize("what", [QUANTIZES, PROPOSES], ids=["quantizes", "proposes"])
def test_torchao_says_nothing(what):
    """transformers imports it too, wherever it is installed."""
    code = f"{what}\nimport sys; assert 'torchao' in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
