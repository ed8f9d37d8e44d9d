"""What a result was computed with and where: versions, device, attention kernel, precision, git revision. Never a path
or a secret."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend

import warmexp
from warmexp.models.backbone import Backbone

_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "hydra-core", "omegaconf", "numpy", "torchao")


def keep_float32() -> None:
    """Float32 products in float32: TF32 (a 10-bit mantissa on tensor cores) off for matrix products and cuDNN, whatever
    was set before."""
    if hasattr(
        torch.backends, "fp32_precision"
    ):  # torch 2.9's switches; the older ones below cannot be read where only these are set
        torch.backends.fp32_precision = "ieee"
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def no_cudnn_attention() -> None:
    """Attention by torch's flash and memory-efficient kernels, not by cuDNN, whatever was set before; on a CPU nothing
    changes.

    torch prefers cuDNN's on some GPUs (Hopper), and cuDNN makes a plan for every shape it meets, which takes tenths of
    a second. The last layer has a query per position that is read, and a row's length is its question's, so nearly
    every forward has a shape of its own; a proposer's keys grow with every token. Attention is 2 % of a forward's
    arithmetic at 400 positions of 8 B parameters: a faster kernel could not earn the plans.
    """
    torch.backends.cuda.enable_cudnn_sdp(False)


def environment(device: str, identity: dict[str, Any], backbone: Backbone, tokens: int) -> dict[str, Any]:
    """environment.json of a run.

    tokens: the longest row (prompt and canvas), for which the attention kernel is asked.
    """
    facts: dict[str, Any] = {
        "warmexp": warmexp.__version__,
        "git": _git_revision(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _processor(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "device": device,
        "threads": torch.get_num_threads(),
        "dtype": str(backbone.dtype).removeprefix("torch."),
        "attention": {"enabled": _enabled_kernels(), **attention_kernels(backbone, tokens)},
        "tf32": {"matmul": torch.backends.cuda.matmul.allow_tf32, "cudnn": torch.backends.cudnn.allow_tf32},
        "deterministic": {
            "algorithms": torch.are_deterministic_algorithms_enabled(),
            "cudnn": torch.backends.cudnn.deterministic,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        },
        "backbone": identity["backbone"]["model"],
        "proposer": (identity["proposer"] or {}).get("model"),
    }
    if device.startswith("cuda"):
        facts |= _gpu(device)
    return facts


def _processor() -> str:
    """The processor's own name, and how many of its cores this process may use."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def _gpu(device: str) -> dict[str, Any]:
    """gpu_memory in bytes; cudnn as its library gives it (91002 is 9.10.2); reduced_precision: whether 16-bit products
    may be summed in 16 bits, which torch allows unless told otherwise."""
    properties = torch.cuda.get_device_properties(device)
    matmul = torch.backends.cuda.matmul
    return {
        "gpu": properties.name,
        "gpu_memory": properties.total_memory,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "reduced_precision": {
            "bfloat16": matmul.allow_bf16_reduced_precision_reduction,
            "float16": matmul.allow_fp16_reduced_precision_reduction,
        },
    }


def _driver() -> str | None:
    """The NVIDIA driver's version; one driver serves all GPUs of a machine."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    return lines[0] if lines else None


def _enabled_kernels() -> list[str]:
    """The kernels scaled_dot_product_attention may choose from on CUDA; it picks one per call by GPU, shape, mask and
    dtype."""
    cuda = torch.backends.cuda
    enabled = {
        "flash": cuda.flash_sdp_enabled(),
        "efficient": cuda.mem_efficient_sdp_enabled(),
        "cudnn": cuda.cudnn_sdp_enabled(),
        "math": cuda.math_sdp_enabled(),
    }
    return [name for name, on in enabled.items() if on]


@torch.inference_mode()
def attention_kernels(backbone: Backbone, tokens: int) -> dict[str, str | None]:
    """Which kernel the backbone's attention uses for a row of `tokens`, without and with a padding mask (rows of
    several lengths).

    It is asked of the function scaled_dot_product_attention itself asks, which torch does not document: None where it
    cannot be asked.
    """
    config = backbone.transformer.config
    x = torch.empty(1, config.n_heads, tokens, config.head_dim, dtype=backbone.dtype, device=backbone.device)
    mask = torch.ones(1, 1, 1, tokens, dtype=torch.bool, device=backbone.device)
    return {"unpadded": _chosen(x, None), "padded": _chosen(x, mask)}


def _chosen(x: torch.Tensor, mask: torch.Tensor | None) -> str | None:
    try:
        backend = SDPBackend(torch._fused_sdp_choice(x, x, x, mask))
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return None
    return backend.name.lower().removesuffix("_attention")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    """The revision of the checkout warmexp runs from, '+' added if it has uncommitted changes; None when installed."""
    root = Path(__file__).resolve().parent.parent.parent
    if not (root / ".git").exists():
        return None
    try:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
        dirty = subprocess.run(
            ["git", "status", "--porcelain", "-uno"], cwd=root, capture_output=True, text=True, timeout=5
        ).stdout
        return head + ("+" if dirty.strip() else "")
    except (OSError, subprocess.SubprocessError):
        return None
