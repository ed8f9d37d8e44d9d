"""The batch is chosen to fit the device before the first forward, and records do not depend on it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from tests.simulated.cuda import SimulatedCuda
from warmexp.api import planned, run_overrides
from warmexp.models.transformer import ModelConfig
from warmexp.runs import footprint as module
from warmexp.runs.footprint import Footprint, fitting
from warmexp.runs.run import _free_backbone

GIB = 1 << 30
LLADA_8B = ModelConfig(
    d_model=4096, n_layers=32, n_heads=32, n_kv_heads=32, mlp_hidden_size=12288, vocab_size=126349, embedding_size=126464,
    max_sequence_length=4096, mask_token_id=126336, eos_token_id=126081,
)  # fmt: skip


def of(words, config=LLADA_8B, tokens=1280, dtype=torch.bfloat16) -> Footprint:
    return Footprint(config, planned(words).strategies, tokens, dtype, torch.device("cpu"))


@pytest.fixture(autouse=True)
def nothing_stays():
    yield
    _free_backbone()


def test_the_default_batch_beside_a_cache_of_8_billion_parameters(monkeypatch):
    """64 rows of 2,048 tokens keep 2·32·4096 numbers of two bytes per token, 64 GiB; the number that is chosen is the
    largest that fits."""
    said: list[str] = []
    dual = of(["cache=dual", "length.block_length=16"], tokens=2048)
    assert 64 * GIB < dual.bytes(64) < 80 * GIB
    monkeypatch.setattr(module, "free_memory", lambda device: 60 * GIB)
    size = fitting(dual, 64, said.append)
    assert 1 < size < 64 and dual.bytes(size) <= 0.9 * 60 * GIB < dual.bytes(size + 1)
    assert len(said) == 1 and f"decoding {size} at a time" in said[0] and "batch_size=64 would need about" in said[0]


@pytest.mark.parametrize(("free", "size"), [(None, 64), (1 << 50, 64), (0, 1), (1, 1)])
def test_as_many_as_asked_for_where_they_fit_and_one_at_least(monkeypatch, free, size):
    said: list[str] = []
    monkeypatch.setattr(module, "free_memory", lambda device: free)
    assert fitting(of(["cache=dual"]), 64, said.append) == size and len(said) == (size != 64)


def test_what_is_not_kept_needs_no_room():
    none, dual = of([]), of(["cache=dual"])
    assert dual.bytes(8) - none.bytes(8) == 8 * 2 * 2 * (32 * 4096 + 4096) * 1281
    assert replace(none, tokens=4096).bytes(1) > none.bytes(1)


def run(words, folder, **gpu):
    said: list[str] = []
    with SimulatedCuda(**gpu) as simulated:
        _, run_folder = run_overrides([*words, "device=cuda", "share=false", f"outputs={folder}"], say=said.append)
        _free_backbone()
    rows = [json.loads(line) for line in (run_folder / "records.jsonl").read_text().splitlines()]
    return [{k: row[k] for k in ("id", "ids", "nfe", "commit_iteration")} for row in rows], said, simulated.peak[0]


@pytest.mark.parametrize("cache", ["none", pytest.param("dual", marks=pytest.mark.slow)])
def test_a_batch_that_would_not_fit_is_never_tried(cache, tmp_path):
    """On a simulated device whose allocations are counted: the prediction is above what is used, and not far."""
    words = ["task.limit=8", "batch_size=8", f"cache={cache}"]
    rows, said, peak = run(words, tmp_path / "roomy")
    assert not said
    plan = planned(words)
    tokens = 48 + max(map(len, plan.prompts.values()))
    predicted = Footprint(plan.backbone.config, plan.strategies, tokens, torch.float32, torch.device("cuda"))
    weights = 4 * sum(
        tensor.numel() for file in plan.backbone.folder.glob("*.safetensors") for tensor in load_file(file).values()
    )
    assert peak - weights < predicted.bytes(8) < 3 * (peak - weights)
    capacity = weights + int(predicted.bytes(4) / module.SHARE) + (1 << 19)  # and for angles and canvases
    found, said, peak = run(words, tmp_path / "tight", capacity=capacity)
    assert found == rows and peak <= capacity
    assert len(said) == 1 and "decoding 4 at a time" in said[0]  # and nothing ran out of memory
