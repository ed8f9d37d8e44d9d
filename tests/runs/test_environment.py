"""environment.json says what a number depends on beside the configuration: GPU, driver, kernels, precision."""

from __future__ import annotations

import json
import subprocess
import warnings
from types import SimpleNamespace

import pytest
import torch

import warmexp.runs.environment as module
from warmexp.api import run_overrides
from warmexp.models.checkpoint import Checkpoint
from warmexp.runs.environment import attention_kernels, environment, keep_float32

IDENTITY = {"backbone": {"model": "abc"}, "proposer": None}


@pytest.fixture
def backbone(checkpoint):
    return Checkpoint(str(checkpoint)).load(torch.device("cpu"))


@pytest.fixture
def precision():
    yield
    keep_float32()


def test_a_gpu_is_described(backbone, monkeypatch):
    asked = []

    def properties(device):
        asked.append(device)
        return SimpleNamespace(name="Some GPU", total_memory=2**37, major=9, minor=0)

    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout="570.86.15\n570.86.15\n"))
    facts = environment("cuda:1", IDENTITY, backbone, 40)
    assert asked == ["cuda:1"]
    expected = {
        "gpu": "Some GPU",
        "gpu_memory": 2**37,
        "compute_capability": "9.0",
        "driver": "570.86.15",
        "cuda": "12.8",
        "cudnn": 91002,
    }
    assert {key: facts[key] for key in expected} == expected
    assert facts["reduced_precision"].keys() == {"bfloat16", "float16"}
    assert facts["attention"]["unpadded"] in ("flash", "math") and facts["dtype"] == "float32"


@pytest.mark.parametrize(
    "error", [FileNotFoundError(), subprocess.TimeoutExpired("nvidia-smi", 10), subprocess.CalledProcessError(9, "")]
)
def test_no_driver_to_be_asked_is_no_error(monkeypatch, error):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(module.subprocess, "run", fails)
    assert module._driver() is None


def test_tf32_and_determinism_are_recorded_as_they_are(backbone, precision, monkeypatch):
    keep_float32()
    facts = environment("cpu", IDENTITY, backbone, 40)
    assert facts["tf32"] == {"matmul": False, "cudnn": False} and "gpu" not in facts
    torch.backends.cuda.matmul.allow_tf32 = True
    assert environment("cpu", IDENTITY, backbone, 40)["tf32"]["matmul"] is True
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    deterministic = environment("cpu", IDENTITY, backbone, 40)["deterministic"]
    assert deterministic == {
        "algorithms": False,
        "cudnn": False,
        "cudnn_benchmark": True,
        "cublas_workspace": ":4096:8",
    }


@pytest.mark.parametrize("how", ["old", "newer", "words"])
def test_tf32_is_turned_off_however_it_was_turned_on(precision, how):
    """torch has had three ways, and refuses to be asked in one what was set in another."""
    keep_float32()
    if how == "old":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    elif how == "words":
        torch.set_float32_matmul_precision("high")
    elif hasattr(torch.backends, "fp32_precision"):
        torch.backends.fp32_precision = torch.backends.cuda.matmul.fp32_precision = "tf32"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keep_float32()
        assert torch.backends.cuda.matmul.allow_tf32 is False and torch.backends.cudnn.allow_tf32 is False
    assert torch.get_float32_matmul_precision() == "highest"


def test_the_kernel_is_asked_for_the_runs_own_shape_and_dtype(backbone, monkeypatch):
    seen = []

    def choice(q, k, v, mask=None):
        seen.append((tuple(q.shape), q.dtype, None if mask is None else tuple(mask.shape)))
        return 1 if mask is None else 2

    monkeypatch.setattr(torch, "_fused_sdp_choice", choice)
    assert attention_kernels(backbone, 40) == {"unpadded": "flash", "padded": "efficient"}
    assert seen == [((1, 2, 40, 8), torch.float32, None), ((1, 2, 40, 8), torch.float32, (1, 1, 1, 40))]
    monkeypatch.delattr(torch, "_fused_sdp_choice")
    assert attention_kernels(backbone, 40) == {"unpadded": None, "padded": None}


def test_attention_is_never_cudnns(tmp_path):
    """cuDNN makes a plan per shape, and nearly every forward has a shape of its own. The run says what it chose
    from."""
    torch.backends.cuda.enable_cudnn_sdp(True)
    _, folder = run_overrides(["task.limit=1", f"outputs={tmp_path}"])
    assert json.loads((folder / "environment.json").read_text())["attention"]["enabled"] == [
        "flash",
        "efficient",
        "math",
    ]
    assert not torch.backends.cuda.cudnn_sdp_enabled()
