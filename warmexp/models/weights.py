"""Weights from safetensors shards into the transformer: straight to the device and dtype, one tensor at a time.

Everything that can be wrong with them is said before the first tensor is read: the headers of all shards come first (a truncated shard,
missing, unexpected and mis-shaped tensors), then the memory they will need.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from warmexp.errors import UserError, out_of_memory
from warmexp.models.hub import shards
from warmexp.models.layouts import Layout
from warmexp.models.transformer import ModelConfig, Transformer

DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
GIB = 1 << 30
# safetensors' names of the types that weights are published in
_STORED = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class _Stored:
    """A tensor's header: the shard it is in, its shape and its type."""

    shard: Path
    shape: tuple[int, ...]
    type: str


def load_transformer(folder: Path, layout: Layout, config: ModelConfig, dtype: torch.dtype, device: torch.device) -> Transformer:
    """The transformer with a checkpoint's weights; there is never a second copy of them in host memory.

    Raises:
        UserError: naming missing, unexpected and mis-shaped tensors, a shard that cannot be read, or memory needed and memory free.
    """
    with torch.device("meta"):
        transformer = Transformer(config)
    wanted = {layout.published(name): (name, tuple(tensor.shape)) for name, tensor in transformer.state_dict().items()}
    stored = _headers(folder)
    _check_tensors(folder, {name: shape for name, (_, shape) in wanted.items()}, stored)
    _check_memory(folder, stored, dtype, device)
    loaded: dict[str, torch.Tensor] = {}
    for shard in dict.fromkeys(tensor.shard for tensor in stored.values()):
        try:
            with safe_open(shard, framework="pt", device=str(device)) as file:
                for name in (name for name, tensor in stored.items() if tensor.shard == shard):
                    loaded[wanted[name][0]] = file.get_tensor(name).to(dtype)
        except (SafetensorError, OSError, RuntimeError, MemoryError) as error:
            if out_of_memory(error):
                raise UserError(_too_large(folder, dtype, device)) from None
            if not isinstance(error, (SafetensorError, OSError)):
                raise
            raise UserError(_unreadable(folder, shard, error)) from None
    transformer.load_state_dict(loaded, assign=True)
    return transformer.requires_grad_(False).eval()


def _headers(folder: Path) -> dict[str, _Stored]:
    """Name -> header of every tensor in every shard. Opening a shard also tells whether it has all its bytes."""
    found: dict[str, _Stored] = {}
    for shard in shards("backbone.path", folder):
        try:
            with safe_open(shard, framework="pt", device="cpu") as file:
                for name in file.keys():  # noqa: SIM118 (not a dict)
                    header = file.get_slice(name)
                    found[name] = _Stored(shard, tuple(header.get_shape()), header.get_dtype())
        except (SafetensorError, OSError) as error:
            raise UserError(_unreadable(folder, shard, error)) from None
    return found


def _unreadable(folder: Path, shard: Path, error: Exception) -> str:
    return f"backbone.path={folder}: {shard.name} cannot be read ({error}): it is damaged or cut short, download it again."


def _check_tensors(folder: Path, wanted: dict[str, tuple[int, ...]], stored: dict[str, _Stored]) -> None:
    problems = {
        "missing": [name for name in wanted if name not in stored],
        "unexpected": [name for name in stored if name not in wanted],
        "mis-shaped": [
            f"{name} {list(stored[name].shape)} instead of {list(shape)}"
            for name, shape in wanted.items()
            if name in stored and stored[name].shape != shape
        ],
        "quantized": [f"{name} ({tensor.type})" for name, tensor in stored.items() if name in wanted and tensor.type not in _STORED],
    }
    said = [f"{what}: {_few(names)}" for what, names in problems.items() if names]
    if said:
        raise UserError(f"backbone.path={folder}: the weights do not fit config.json ({'; '.join(said)}).")


def _few(names: list[str], n: int = 4) -> str:
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")


def _check_memory(folder: Path, stored: dict[str, _Stored], dtype: torch.dtype, device: torch.device) -> None:
    """Refuse what cannot fit. Activations are not counted: only a load that is bound to fail is refused."""
    sizes = [(torch.Size(tensor.shape).numel(), _STORED[tensor.type]) for tensor in stored.values()]
    needed = sum(n for n, _ in sizes) * dtype.itemsize
    # A tensor that is stored in another type is there twice while it is converted.
    needed += max((n * kind.itemsize for n, kind in sizes if kind != dtype), default=0)
    free = free_memory(device)
    if free is None or needed <= free:
        return
    raise UserError(
        f"backbone.path={folder}: the weights need {needed / GIB:.1f} GiB in {_name(dtype)} and {device} has {free / GIB:.1f} GiB free:"
        f" {_remedy(dtype)}"
    )


def _too_large(folder: Path, dtype: torch.dtype, device: torch.device) -> str:
    return f"backbone.path={folder}: {device} ran out of memory while the weights were loaded in {_name(dtype)}: {_remedy(dtype)}"


def _remedy(dtype: torch.dtype) -> str:
    narrower = ", backbone.dtype=bfloat16" if dtype.itemsize > 2 else ""
    return f"free memory there, or choose another device=…{narrower} or a smaller backbone."


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def free_memory(device: torch.device) -> int | None:
    """Bytes that can still be allocated on a device; None where the system does not say."""
    if device.type == "cuda":
        # What torch has reserved but not handed out is free to us, though not to others.
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None
