"""The files of a checkpoint folder, read as files that a stranger wrote: regular files only, never more than a bound,
and no pickle.

A folder is checked as a whole before anything in it is opened: a pipe would never end to be waited for, `/dev/zero`
never end.
"""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from warmexp.errors import UserError

# What is ever read from a checkpoint: no *.bin, no *.pt, no *.py.
SUFFIXES = (".json", ".safetensors", ".model", ".txt", ".jinja")
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
LIMIT = 128 << 20  # bytes of a file that is no weights; the largest published tokenizer.json has about 35 MB
_ADAPTER = re.compile(r"adapters?([_.-].*)?\.safetensors")
_NUMBERED = re.compile(r"(.*)-([0-9]{5})-of-([0-9]{5})\.safetensors")


def readable(key: str, folder: Path) -> list[Path]:
    """The files of a checkpoint that may be read, by name.

    Raises:
        UserError: the folder cannot be listed, or something in it has the name of such a file and is none.
    """
    try:
        entries = sorted(entry for entry in folder.iterdir() if entry.suffix in SUFFIXES)
    except OSError as error:
        raise UserError(f"{key}={folder} cannot be read ({error.strerror}): check its permissions.") from None
    return [entry for entry in entries if _mode(key, entry) != stat.S_IFDIR]


def _mode(key: str, file: Path) -> int:
    """The kind of what a name stands for: a regular file or a folder."""
    try:
        kind = stat.S_IFMT(file.stat().st_mode)
    except OSError as error:
        raise UserError(
            f"{key}: {file.name} of {file.parent} cannot be read ({error.strerror}): download it again."
        ) from None
    if kind not in (stat.S_IFREG, stat.S_IFDIR):
        raise UserError(
            f"{key}: {file.name} of {file.parent} is not a regular file: give a checkpoint of regular files."
        )
    return kind


def read_bytes(key: str, file: Path) -> bytes:
    """A whole file that is no weights.

    Raises:
        UserError: it cannot be read, is no regular file or larger than `LIMIT`.
    """
    _mode(key, file)
    try:
        # What became a pipe since then must not be waited for.
        handle = os.fdopen(os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")
        with handle:
            data = handle.read(LIMIT + 1) if stat.S_ISREG(os.fstat(handle.fileno()).st_mode) else b""
    except OSError as error:
        raise UserError(f"{key}: {file.name} of {file.parent} cannot be read ({error.strerror}).") from None
    if len(data) > LIMIT:
        raise too_large(key, file)
    return data


def too_large(key: str, file: Path) -> UserError:
    return UserError(
        f"{key}: {file.name} of {file.parent} is larger than {LIMIT >> 20} MiB: it is not what its name says."
    )


def check_complete(key: str, file: Path) -> None:
    """That a safetensors file has all the bytes its header tells of, and no others; it is not read for that.

    Raises:
        UserError: it has not, or has no such header.
    """
    try:
        with safe_open(file, framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        raise unreadable(key, file, error) from None


def unreadable(key: str, file: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:200]  # it may quote the header
    return UserError(
        f"{key}={file.parent}: {file.name} cannot be read ({reason}): it is damaged or cut short, download it again."
    )


def read_json(key: str, file: Path) -> dict[str, Any]:
    """A checkpoint's JSON file, which holds an object, or one sentence."""
    data = read_bytes(key, file)
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise UserError(f"{key}: {file.name} of {file.parent} cannot be read (it is nested too deeply).") from None
    except ValueError as error:
        raise UserError(f"{key}: {file.name} of {file.parent} cannot be read ({error}).") from None
    if not isinstance(value, dict):
        raise UserError(
            f"{key}: {file.name} of {file.parent} holds {shown(value)} instead of an object: download it again."
        )
    return value


def shown(value: Any) -> str:
    """A value of somebody else's file in a message: as Python writes it, and not for pages."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # an integer of more digits than Python prints
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def named(value: Any) -> str:
    """A name out of somebody else's file, without quotes where it is one."""
    return value if isinstance(value, str) and value.isprintable() and len(value) <= 80 else shown(value)


def shards(key: str, folder: Path) -> list[Path]:
    """The safetensors files that hold a checkpoint's weights.

    As transformers chooses them: `model.safetensors` where it is there (an index beside it that names other files was
    left behind), else those that the index names. Without either, all there are but adapters.

    Raises:
        UserError: a file that the index or a file's own name (00001-of-00002) promises is not there.
    """
    files = readable(key, folder)
    there = [file for file in files if file.suffix == ".safetensors"]
    try:
        promised = _indexed(key, folder) if folder / INDEX in files else None
    except UserError:
        if folder / SINGLE not in there:
            raise
        promised = None
    if folder / SINGLE in there and SINGLE not in (promised or ()):
        return [folder / SINGLE]
    by = f"its {INDEX} names"
    if promised is None:
        promised, by = (
            _promised([file.name for file in there if not _ADAPTER.fullmatch(file.name)]),
            "the other shards' names promise",
        )
    absent = [name for name in promised if folder / name not in there]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise UserError(f"{key}={folder} lacks {named(absent[0])}{more}, which {by}: download it again.")
    return [folder / name for name in promised]


def _promised(names: list[str]) -> list[str]:
    """All shards of which one is named like 00001-of-00002; the names themselves where none is."""
    totals = {(match[1], match[3]) for match in map(_NUMBERED.fullmatch, names) if match}
    return (
        sorted(f"{stem}-{n:05d}-of-{total}.safetensors" for stem, total in totals for n in range(1, int(total) + 1))
        or names
    )


def _indexed(key: str, folder: Path) -> list[str]:
    weight_map = read_json(key, folder / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UserError(f"{key}: {INDEX} of {folder} names no weights: download it again.")
    wrong = [name for name in weight_map.values() if not isinstance(name, str) or not name.endswith(".safetensors")]
    if wrong:
        raise UserError(
            f"{key}: {INDEX} of {folder} names {shown(wrong[0])}, which is no safetensors file: download it again."
        )
    return sorted({Path(name).name for name in weight_map.values()})


def adapters(folder: Path) -> list[Path]:
    """Weights of an adapter (LoRA and the like), which say what is added to a base model's."""
    return sorted(file for file in folder.glob("*.safetensors") if _ADAPTER.fullmatch(file.name))
