"""Weights from safetensors shards into the transformer: straight to the device and dtype, one tensor at a time.

Everything that can be wrong with them is said before the first tensor is read: the headers of all shards come first (a
truncated shard, missing, unexpected and mis-shaped tensors), then the memory they will need.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from warmexp.errors import UserError, out_of_memory
from warmexp.models.files import shards, unreadable
from warmexp.models.layout import Layout, Target, targets
from warmexp.models.transformer import ModelConfig, Transformer

DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
GIB = 1 << 30
# safetensors' names of the types that weights are published in
_STORED = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
# What older versions stored beside the weights and nobody reads: config.json says what the rotary angles are.
_BUFFERS = ("rotary_emb.inv_freq", "rotary_emb.cos_cached", "rotary_emb.sin_cached")


@dataclass(frozen=True)
class Stored:
    """A tensor's header: the shard it is in, its shape and its type."""

    shard: Path
    shape: tuple[int, ...]
    type: str


def load_transformer(
    folder: Path, layout: Layout, config: ModelConfig, dtype: torch.dtype, device: torch.device
) -> Transformer:
    """The transformer with a checkpoint's weights; there is never a second copy of them in host memory.

    Raises:
        UserError: what `check_weights` says, a tied head that is another, or memory needed and memory free.
    """
    stored = check_weights(folder, layout, config)
    _check_head(folder, layout, config, stored)
    wanted, transformer = _wanted(layout, config)
    _check_memory(folder, [stored[name] for name in wanted], dtype, device)
    loaded: dict[str, torch.Tensor] = {}
    for shard in dict.fromkeys(stored[name].shard for name in wanted):
        try:
            with safe_open(shard, framework="pt", device=str(device)) as file:
                for name in (name for name in wanted if stored[name].shard == shard):
                    _lay(file.get_tensor(name), wanted[name], loaded, transformer, dtype)
        except (SafetensorError, OSError, RuntimeError, MemoryError) as error:
            if out_of_memory(error):
                raise UserError(_too_large(folder, dtype, device)) from None
            if not isinstance(error, (SafetensorError, OSError)):
                raise
            raise unreadable("backbone.path", shard, error) from None
    transformer.load_state_dict(loaded, assign=True)
    return transformer.requires_grad_(False).eval()


def _lay(
    tensor: torch.Tensor,
    target: Target,
    loaded: dict[str, torch.Tensor],
    transformer: Transformer,
    dtype: torch.dtype,
) -> None:
    """Put a published tensor where it belongs: as it is, a part of its rows, or among those that ours has stacked."""
    for place in target.places:
        part = tensor if len(target.places) == 1 else tensor[place.rows].clone()
        if place.lacking:
            part = torch.cat((part, part.new_zeros(place.lacking, *part.shape[1:])))
        # What is added to a router's scores decides between experts: it stays as exact as the scores.
        part = part.to(torch.promote_types(dtype, torch.float32) if place.name.endswith("router.bias") else dtype)
        if place.index is None:
            loaded[place.name] = part
            continue
        if place.name not in loaded:
            shape = transformer.get_parameter(place.name).shape
            loaded[place.name] = torch.empty(shape, dtype=dtype, device=part.device)
        loaded[place.name][place.index] = part


def check_weights(folder: Path, layout: Layout, config: ModelConfig) -> dict[str, Stored]:
    """Name -> header of every stored tensor, once they are known to be config.json's. Nothing but headers is read, and
    nothing is built before the number of layers and the size of the embedding table are known to be those of a file
    that is there.

    Raises:
        UserError: naming missing, unexpected and mis-shaped tensors, or a shard that cannot be read.
    """
    stored = _headers(folder)
    layers = _layers(layout, stored)
    if layers != config.n_layers:
        raise UserError(
            f"backbone.path={folder}: config.json has {config.n_layers} layers and the weights {layers}: one is"
            " another model's."
        )
    if config.experts is not None and config.experts.count > len(stored):
        raise UserError(
            f"backbone.path={folder}: config.json has {config.experts.count} experts, more than the weights have"
            " tensors: one is another model's."
        )
    table = layout.published("wte.weight")
    if table in stored and stored[table].shape != (config.embedding_size, config.d_model):
        wanted: dict[str, tuple[int, ...]] = {table: (config.embedding_size, config.d_model)}
    else:
        wanted = _shapes(layout, config)
    _check_tensors(folder, layout, config, wanted, stored)
    return stored


@lru_cache(maxsize=1)
def _shapes(layout: Layout, config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Published name -> shape. Those of the last model are kept: the points of a study ask for them again and again."""
    return {name: target.shape for name, target in _wanted(layout, config)[0].items()}


def _wanted(layout: Layout, config: ModelConfig) -> tuple[dict[str, Target], Transformer]:
    """What is published, by name, and the transformer without its weights."""
    with torch.device("meta"):
        transformer = Transformer(config)
    shapes = {name: tensor.shape for name, tensor in transformer.state_dict().items()}
    return targets(layout, shapes, config.n_kv_heads), transformer


def _headers(folder: Path) -> dict[str, Stored]:
    """Name -> header of every tensor in every shard. Opening a shard also tells whether it has all its bytes."""
    found: dict[str, Stored] = {}
    for shard in shards("backbone.path", folder):
        try:
            with safe_open(shard, framework="pt", device="cpu") as file:
                for name in file.keys():  # noqa: SIM118 (not a dict)
                    header = file.get_slice(name)
                    if name in found:
                        raise UserError(
                            f"backbone.path={folder}: {_few([name])} is in {found[name].shard.name} and in"
                            f" {shard.name}: remove the file that is another model's."
                        )
                    found[name] = Stored(shard, tuple(header.get_shape()), header.get_dtype())
        except (SafetensorError, OSError) as error:
            raise unreadable("backbone.path", shard, error) from None
    return found


def _layers(layout: Layout, stored: dict[str, Stored]) -> int:
    """How many blocks the weights have: one more than the largest number."""
    before, after = (re.escape(part) for part in layout.block.split("{n}"))
    numbers = [int(match[1]) for match in map(re.compile(rf"{before}(\d{{1,9}}){after}").match, stored) if match]
    return max(numbers, default=-1) + 1


def _check_head(folder: Path, layout: Layout, config: ModelConfig, stored: dict[str, Stored]) -> None:
    """A head that is said to be the embedding table and is stored beside it must be equal to it: one of the two would
    be ignored."""
    names = layout.published("wte.weight"), layout.published("ff_out.weight")
    if not config.weight_tying or names[1] not in stored:
        return
    equal = stored[names[0]].shape == stored[names[1]].shape
    try:
        with ExitStack() as opened:
            files = [
                opened.enter_context(safe_open(stored[name].shard, framework="pt", device="cpu")) for name in names
            ]
            table, head = (file.get_slice(name) for file, name in zip(files, names, strict=True))
            rows = range(0, config.embedding_size, 4096)  # in pieces: a table is a gigabyte
            equal = equal and all(torch.equal(table[i : i + 4096].double(), head[i : i + 4096].double()) for i in rows)
    except (SafetensorError, OSError) as error:
        raise unreadable("backbone.path", stored[names[1]].shard, error) from None
    if not equal:
        raise UserError(
            f"backbone.path={folder}: config.json says that the head is the embedding table (weight_tying,"
            f" tie_word_embeddings) and {names[1]} is another: set that field to what the model was trained with."
        )


def _check_tensors(
    folder: Path, layout: Layout, config: ModelConfig, wanted: dict[str, tuple[int, ...]], stored: dict[str, Stored]
) -> None:
    complete = len(wanted) > 1  # not only the one tensor that does not fit
    unread = {layout.published("ff_out.weight")} if config.weight_tying else set()
    problems = {
        "missing": [name for name in wanted if name not in stored],
        "unexpected": [
            n for n in stored if complete and n not in wanted and n not in unread and not n.endswith(_BUFFERS)
        ],
        "mis-shaped": [
            f"{name} {list(stored[name].shape)} instead of {list(shape)}"
            for name, shape in wanted.items()
            if name in stored and stored[name].shape != shape
        ],
        "quantized": [
            f"{name} ({tensor.type})"
            for name, tensor in stored.items()
            if name in wanted and tensor.type not in _STORED
        ],
    }
    said = [f"{what}: {_few(names)}" for what, names in problems.items() if names]
    lora = (
        "; a LoRA adapter is in them: merge it first"
        if any(".lora_" in name for name in problems["unexpected"])
        else ""
    )
    if said:
        raise UserError(f"backbone.path={folder}: the weights do not fit config.json ({'; '.join(said)}){lora}.")


def _few(names: list[str], n: int = 4) -> str:
    return ", ".join(name[:120] for name in names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")


def _check_memory(folder: Path, tensors: list[Stored], dtype: torch.dtype, device: torch.device) -> None:
    """Refuse what cannot fit. Activations are not counted: only a load that is bound to fail is refused."""
    sizes = [(torch.Size(tensor.shape).numel(), _STORED[tensor.type]) for tensor in tensors]
    needed = sum(n for n, _ in sizes) * dtype.itemsize
    # A tensor that is stored in another type is there twice while it is converted.
    needed += max((n * kind.itemsize for n, kind in sizes if kind != dtype), default=0)
    free = free_memory(device)
    if free is None or needed <= free:
        return
    raise UserError(
        f"backbone.path={folder}: the weights need {needed / GIB:.1f} GiB in {_name(dtype)} and {device} has"
        f" {free / GIB:.1f} GiB free: {_remedy(dtype)}"
    )


def _too_large(folder: Path, dtype: torch.dtype, device: torch.device) -> str:
    return (
        f"backbone.path={folder}: {device} ran out of memory while the weights were loaded in {_name(dtype)}:"
        f" {_remedy(dtype)}"
    )


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
