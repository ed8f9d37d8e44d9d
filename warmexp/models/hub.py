"""Where model files come from: a shipped lab model, a local folder, or the Hugging Face hub. Never code, never a pickle.

Everything that can be known without loading weights (a folder that is not there, a pickle checkpoint, no network and nothing cached) is
said here, in one sentence that names the configuration key.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlparse

from warmexp.errors import UserError

# What is ever read from a checkpoint: no *.bin, no *.pt, no *.py.
FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
INDEX = "model.safetensors.index.json"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# Whole files are hashed up to this size; above it the header, size and both ends stand for the weights (16 GB would take a minute).
_HASH_WHOLE = 64 << 20


def model_folder(key: str, path: str, revision: str | None = None) -> Path:
    """The local folder of a model.

    Args:
        key: the configuration key, for messages ("backbone.path").
        path: `lab:NAME` for a shipped model, a local folder, or a hub name `organisation/model`.
        revision: hub revision (a commit, branch or tag); a local folder has none.
    Raises:
        UserError: not there, no safetensors weights, a shard missing, or not reachable.
    """
    if revision is not None and (path.startswith("lab:") or Path(path).expanduser().exists()):
        raise UserError(f"{key}={path} is a local folder, which has no revision {revision}: set {key.split('.')[0]}.revision=null.")
    if path.startswith("lab:"):
        from warmexp.models.lab_files import model_path

        folder = model_path(path.removeprefix("lab:"))
    else:
        folder = Path(path).expanduser()
        if not folder.is_dir():
            if folder.exists():
                raise UserError(f"{key}={path} is a file: give the folder that holds config.json and the safetensors weights.")
            if not _HUB_NAME.fullmatch(path):
                raise UserError(f"{key}={path} does not exist: give a local checkpoint folder or a hub name like organisation/model.")
            folder = _download(key, path, revision)
    if not (folder / "config.json").is_file():
        raise UserError(f"{key}={path} has no config.json: give a checkpoint in Hugging Face layout.")
    if not list(folder.glob("*.safetensors")):
        pickles = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".ckpt"))
        why = f"only {pickles[0]}, a pickle, which is never loaded" if pickles else "no weights"
        raise UserError(f"{key}={path} holds {why}: give a checkpoint with safetensors weights.")
    shards(key, folder)
    return folder


def shards(key: str, folder: Path) -> list[Path]:
    """The safetensors files that hold a checkpoint's weights: those its index names, or all there are.

    Raises:
        UserError: the index names a file that is not there.
    """
    index = folder / INDEX
    if not index.is_file():
        return sorted(folder.glob("*.safetensors"))
    weight_map = read_json(key, index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UserError(f"{key}: {INDEX} of {folder} names no weights: download it again.")
    names = sorted({Path(str(name)).name for name in weight_map.values()})
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise UserError(f"{key}={folder} lacks {absent[0]}{more}, which its {INDEX} names: download it again.")
    return [folder / name for name in names]


def resolved_commit(folder: Path) -> str | None:
    """The commit a hub model was resolved to: the hub cache keeps every snapshot in a folder named after it."""
    return folder.name if folder.parent.name == "snapshots" and _COMMIT.fullmatch(folder.name) else None


def _download(key: str, name: str, revision: str | None) -> Path:
    offline_if_unreachable()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    at = f"{name}@{revision}" if revision else name
    try:
        # The endpoint is given so that HF_ENDPOINT is read now, as above, and not when the library was imported.
        endpoint = os.environ.get("HF_ENDPOINT")
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(FILES), endpoint=endpoint))
    except GatedRepoError:
        raise UserError(f"{key}={at} is gated: accept its licence on the hub and set HF_TOKEN (or `hf auth login`).") from None
    except RevisionNotFoundError:
        raise UserError(f"{key}={at} has no such revision on the hub: check the revision.") from None
    except RepositoryNotFoundError:
        raise UserError(f"{key}={at} is not on the hub (or is private): check the name, or set HF_TOKEN.") from None
    except LocalEntryNotFoundError:
        raise UserError(
            f"{key}={at} is not in the local hub cache and the hub cannot be reached: download it where there is a network"
            f" (`hf download {name}`) and set HF_HOME, or give a local folder."
        ) from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise UserError(f"{key}={at} could not be downloaded ({type(error).__name__}: {str(error).splitlines()[0]}).") from None


@lru_cache(maxsize=1)
def offline_if_unreachable(seconds: float = 3.0) -> bool:
    """Tell the hub libraries at once that there is no network, instead of letting them retry for minutes. True if offline."""
    endpoint = urlparse(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    try:
        socket.create_connection((endpoint.hostname, endpoint.port or 443), timeout=seconds).close()
        return False
    except OSError:
        os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
        try:  # the constant is read when the library is imported, which may already have happened
            import huggingface_hub.constants as constants

            constants.HF_HUB_OFFLINE = True
        except ImportError:
            pass
        return True


@lru_cache(maxsize=64)
def fingerprint(folder: Path) -> str:
    """What a model is, whatever its folder is called: a hash of configuration, tokenizer and weights (16 hex digits)."""
    digest = hashlib.sha256()
    for file in sorted(p for p in folder.iterdir() if p.suffix in (".json", ".safetensors", ".model", ".jinja", ".txt")):
        digest.update(file.name.encode())
        size = file.stat().st_size
        with file.open("rb") as handle:
            if size <= _HASH_WHOLE:
                digest.update(handle.read())
            else:
                digest.update(str(size).encode() + handle.read(1 << 20))
                handle.seek(-(1 << 20), os.SEEK_END)
                digest.update(handle.read())
    return digest.hexdigest()[:16]


def read_json(key: str, file: Path) -> dict:
    """A checkpoint's JSON file, or one sentence."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{key}: {file.name} of {file.parent} cannot be read ({error}).") from None
