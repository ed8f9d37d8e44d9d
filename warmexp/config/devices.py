"""The key `device`: how devices are written, and whether they are there."""

from __future__ import annotations

import os
from typing import Any

from warmexp.errors import UserError


def joined(word: str) -> str:
    """`device=cuda:0,cuda:1` as the list `device=[cuda:0,cuda:1]`, any other word of a command line as it is.

    To Hydra a comma means a sweep. Where a run takes place does not change the run, so no sweep over devices is ever
    meant.
    """
    key, _, value = word.partition("=")
    plain = "," in value and not any(mark in value for mark in "[]()'\"")
    return f"{key}=[{value}]" if plain and key.lstrip("+") == "device" else word


def written(value: Any) -> str:
    """The value of `device` as one word."""
    return ",".join(str(word).strip() for word in (value.split(",") if isinstance(value, str) else value))


def available_devices(value: Any) -> tuple[str, ...]:
    """The devices of a run from the value of `device`: a word, words with commas between them, or a list of words;
    `cuda:all` is all.

    Raises:
        UserError: a device that is not there, an empty list, or devices that a run cannot be divided between.
    """
    words = value.split(",") if isinstance(value, str) else list(value)
    shown = written(value)
    if not words or not all(isinstance(word, str) and word.strip() for word in words):
        raise UserError(f"device=[{shown}] is not a list of devices: write one such as cuda:0,cuda:1.")
    words = [word.strip() for word in words]
    if words == ["cuda:all"]:
        available_device("cuda")
        return tuple(f"cuda:{i}" for i in range(_count()))
    if len(words) > 1 and {"auto", "cuda:all"} & set(words):
        raise UserError(f"device={shown} names some devices twice: write each by its number, or cuda:all alone.")
    devices = tuple(available_device(word) for word in words)
    if len({device.partition(":")[0] for device in devices}) > 1:
        raise UserError(
            f"device={shown} divides a run between kinds of devices whose arithmetic differs: choose devices of one"
            " kind."
        )
    return devices


def _count() -> int:
    import torch

    return torch.cuda.device_count()


def available_device(device: str) -> str:
    """A device's name as given, `auto` resolved; UserError where it is not there."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        parsed = torch.device(device)
    except RuntimeError:
        raise UserError(
            f"device={device} is not a device: choose auto, cpu, cuda, cuda:N, cuda:all or several as cuda:0,cuda:1."
        ) from None
    if parsed.type == "cuda" and (not torch.cuda.is_available() or (parsed.index or 0) >= torch.cuda.device_count()):
        raise UserError(
            f"device={device} is not there ({torch.cuda.device_count()} CUDA devices found): choose device=cpu or"
            " device=auto."
        )
    if parsed.type not in ("cpu", "cuda"):
        raise UserError(f"device={device} is not supported: choose auto, cpu, cuda or cuda:N.")
    return device


def workers() -> int:
    """How many jobs one machine takes at a time: one per CUDA device, one per core where there is none."""
    import torch

    return torch.cuda.device_count() or os.cpu_count() or 1
