"""What a model is, whatever its folder is called: a hash in which every byte counts of all that is read from the
folder.

Weights are read once for it. What a large file hashed to is remembered in the user's cache folder
(`$XDG_CACHE_HOME/warmexp`, else `~/.cache/warmexp`) under its path, size, inode and times of change, so that the next
process need not read it again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event

from warmexp.console import complain
from warmexp.errors import UserError
from warmexp.models.files import LIMIT, adapters, check_complete, read_bytes, readable, shards, too_large

WHOLE = 64 << 20  # files up to this size are read at every call of a process; that takes less than a tenth of a second
_LONG = 2 << 30  # from here on (unread bytes), it is said that something takes its time
_TICK = 0.1  # seconds: a file that changes twice within a clock tick of its file system has the same time of change
_CHUNK = 8 << 20
_CACHE_LIMIT = 16 << 20

Stat = tuple[str, int, int, int, int, int]
_folders: dict[tuple[Stat, ...], str] = {}
_hashes: dict[Stat, str] = {}


def fingerprint(folder: Path, key: str = "backbone.path") -> str:
    """16 hex digits.

    Raises:
        UserError: a file cannot be read, or is written to while it is read.
    """
    files = _files(key, folder)
    before = tuple(_stat(key, file) for file in files)
    if before in _folders:
        return _folders[before]
    large = {state: file for state, file in zip(before, files, strict=True) if state[1] > WHOLE}
    contents = _contents(key, large)
    digest = hashlib.sha256()
    for state, file in zip(before, files, strict=True):
        name = file.name.encode(errors="surrogateescape")
        # The name's length and a hash of one length: no name that goes on in a content, no content in the next name.
        digest.update(len(name).to_bytes(8, "big") + name)
        digest.update(
            bytes.fromhex(contents[state]) if state in contents else hashlib.sha256(read_bytes(key, file)).digest()
        )
    if before != tuple(_stat(key, file) for file in files):
        raise UserError(f"{key}={folder} was written to while it was read: wait until it is complete and run again.")
    if _settled(before):
        _folders[before] = digest.hexdigest()[:16]
    return digest.hexdigest()[:16]


def _files(key: str, folder: Path) -> list[Path]:
    """All that may be read from a checkpoint; of the safetensors files the ones with its weights and an adapter's."""
    weights = {*shards(key, folder), *adapters(folder)}
    found = [file for file in readable(key, folder) if file.suffix != ".safetensors" or file in weights]
    templates = folder / "additional_chat_templates"
    found += readable(key, templates) if templates.is_dir() else []
    for file in found:
        size = file.stat().st_size
        if file.suffix == ".safetensors" and size > WHOLE:
            check_complete(key, file)
        elif file.suffix != ".safetensors" and size > LIMIT:
            raise too_large(key, file)
    return found


def _stat(key: str, file: Path) -> Stat:
    try:
        s, path = file.stat(), str(file.resolve())
    except OSError as error:
        raise UserError(f"{key}: {file.name} of {file.parent} cannot be read ({error.strerror}).") from None
    return path, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_dev


def _settled(states: tuple[Stat, ...]) -> bool:
    """Whether a further change would show in the times."""
    newest = max(max(state[2:4]) for state in states) / 1e9
    return time.time() - newest > _TICK


def _contents(key: str, files: dict[Stat, Path]) -> dict[Stat, str]:
    """sha256 of large files, from the cache where they are in it."""
    known = {state: digest for state, digest in (_read_cache() | _hashes).items() if state in files}
    unread = {state: file for state, file in files.items() if state not in known}
    if unread:
        if not _settled(tuple(unread)):
            time.sleep(2 * _TICK)
        size = sum(state[1] for state in unread)
        if size > _LONG:
            complain(f"reading {size / (1 << 30):.1f} GiB of weights once, to know what {key} is")
        stop = Event()
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            try:
                digests = dict(
                    zip(unread, pool.map(lambda file: _sha256(key, file, stop), unread.values()), strict=True)
                )
            finally:
                stop.set()  # an interrupt must not wait for the rest
        fresh = {s: d for s, d in digests.items() if s == _stat(key, unread[s]) and _settled((s,))}
        _append_cache(fresh)
        known |= digests
        _hashes.update(fresh)
    return known


def _sha256(key: str, file: Path, stop: Event) -> str:
    digest, left = hashlib.sha256(), file.stat().st_size
    try:
        with file.open("rb", buffering=0) as handle:
            while left > 0 and not stop.is_set() and (chunk := handle.read(min(_CHUNK, left))):
                digest.update(chunk)
                left -= len(chunk)
    except OSError as error:
        raise UserError(f"{key}: {file.name} of {file.parent} cannot be read ({error.strerror}).") from None
    return digest.hexdigest()


def _cache_file() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "warmexp" / "sha256.jsonl"


def _read_cache() -> dict[Stat, str]:
    """What earlier processes have hashed. A cache that cannot be read is none."""
    found: dict[Stat, str] = {}
    with suppress(OSError, ValueError):
        file = _cache_file()
        if not file.is_file() or file.stat().st_size > _CACHE_LIMIT:
            return found
        for line in file.read_bytes().split(b"\n"):
            with suppress(ValueError, TypeError, RecursionError):
                *state, digest = json.loads(line)
                if isinstance(digest, str) and len(digest) == 64:
                    found[tuple(state)] = digest
    return found


def _append_cache(digests: dict[Stat, str]) -> None:
    """A line each, in one write: several processes may do so at once. Where nothing can be written, the next process
    reads again."""
    with suppress(OSError, ValueError):
        file = _cache_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_file() and file.stat().st_size > _CACHE_LIMIT:
            file.unlink()
        lines = "".join(json.dumps([*state, digest]) + "\n" for state, digest in digests.items())
        with file.open("ab", buffering=0) as handle:
            handle.write(b"\n" * bool(lines) + lines.encode())
