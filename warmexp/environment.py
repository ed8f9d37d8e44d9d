"""What a result was computed with and where: versions, device, attention kernel, threads, git revision. Never a path or a secret."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import warmexp

_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "hydra-core", "omegaconf", "numpy")


def environment(device: str, identity: dict[str, Any]) -> dict[str, Any]:
    """environment.json of a run."""
    facts: dict[str, Any] = {
        "warmexp": warmexp.__version__,
        "git": _git_revision(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "device": device,
        "threads": torch.get_num_threads(),
        "attention": _attention(device),
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "backbone": identity["backbone"]["model"],
        "proposer": (identity["proposer"] or {}).get("model"),
    }
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(device)
        facts |= {"gpu": properties.name, "gpu_memory": properties.total_memory, "cuda": torch.version.cuda}
    return facts


def _attention(device: str) -> str:
    """The kernels scaled_dot_product_attention may choose from; it picks one per call by shape, mask and dtype."""
    if not device.startswith("cuda"):
        return "sdpa (cpu)"
    cuda = torch.backends.cuda
    enabled = {"flash": cuda.flash_sdp_enabled(), "efficient": cuda.mem_efficient_sdp_enabled(), "math": cuda.math_sdp_enabled()}
    return "sdpa (" + ", ".join(name for name, on in enabled.items() if on) + ")"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    """The revision of the checkout warmexp runs from, '+' added if it has uncommitted changes; None when installed."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
        dirty = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=root, capture_output=True, text=True, timeout=5).stdout
        return head + ("+" if dirty.strip() else "")
    except (OSError, subprocess.SubprocessError):
        return None
