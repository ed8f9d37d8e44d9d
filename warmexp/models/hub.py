"""Where model files come from: a shipped lab model, a local folder, or the Hugging Face hub. Never code, never a
pickle.

Everything that can be known without loading weights (a folder that is not there, a pickle checkpoint, no network and
nothing cached) is said here, in one sentence that names the configuration key.
"""

from __future__ import annotations

import os
import re
import socket
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlparse

from warmexp.errors import UserError, check_choice
from warmexp.models.files import ADAPTER_CONFIG, INDEX, SUFFIXES, adapters, read_json, readable, shards
from warmexp.models.fingerprint import fingerprint
from warmexp.models.packaged import PREFIX, unpacked

__all__ = ["INDEX", "fingerprint", "model_folder", "offline_if_unreachable", "read_json", "resolved_commit", "shards"]

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# Models that are not published as a folder: what a user has to give in the place of the name.
_LAID = {
    "laid:smdm": "FOLDER, which holds a file of nieshen/SMDM as model.safetensors, TinyLlama's tokenizer.json, and the"
    " config.json of docs/models.md",
}
_COMMIT = re.compile(r"[0-9a-f]{40}")


def model_folder(key: str, path: str, revision: str | None = None) -> Path:
    """The local folder of a model.

    Args:
        key: the configuration key, for messages ("backbone.path").
        path: `lab:NAME` for a shipped model, `package:NAME` for one that another package carries (packaged.py), a
        local folder, or a hub name `organisation/model`. `laid:NAME` stands for a folder that is yet to be given.
        revision: hub revision (a commit, branch or tag); a local folder has none.
    Raises:
        UserError: not there, no safetensors weights, a shard missing, a file that is no regular file, or not reachable.
    """
    if path in _LAID:
        raise UserError(f"{key} must be given: {key}={_LAID[path]}.")
    folder = _shipped(key, path) or _local(key, path)
    if folder is not None and revision is not None:
        raise UserError(
            f"{key}={path} is a local folder, which has no revision {revision}: set {key.split('.')[0]}.revision=null."
        )
    if folder is None:
        if not _HUB_NAME.fullmatch(path):
            raise UserError(
                f"{key}={path} does not exist: give a local checkpoint folder or a hub name like organisation/model."
            )
        folder = _download(key, path, revision)
    files = readable(key, folder)
    weights = [file for file in files if file.suffix == ".safetensors" and file not in adapters(folder)]
    if folder / ADAPTER_CONFIG in files and not weights:
        raise UserError(
            f"{key}={path} holds an adapter (LoRA) of {_base(key, folder)} and no model: merge it first (peft's"
            " merge_and_unload, then save_pretrained with the base model's tokenizer) and give the merged folder."
        )
    if folder / "config.json" not in files:
        raise UserError(f"{key}={path} has no config.json: give a checkpoint in Hugging Face layout.")
    if not weights:
        pickles = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".ckpt"))
        why = f"only {pickles[0]}, a pickle, which is never loaded" if pickles else "no weights"
        raise UserError(f"{key}={path} holds {why}: give a checkpoint with safetensors weights.")
    shards(key, folder)
    return folder


def _shipped(key: str, path: str) -> Path | None:
    """A model that comes with this package or another one; None where the path names none."""
    if path.startswith(PREFIX):
        return unpacked(key, path.removeprefix(PREFIX))
    return _lab_folder(key, path) if path.startswith("lab:") else None


def _lab_folder(key: str, path: str) -> Path:
    from warmexp.models.lab_files import MODELS, model_path

    name = path.removeprefix("lab:")
    check_choice(f"{key}=lab:NAME, where NAME", name, MODELS)
    return model_path(name)


def _local(key: str, path: str) -> Path | None:
    """A folder of this machine, None where there is nothing of that name."""
    try:
        folder = Path(path).expanduser()
        if folder.is_dir():
            return folder
        there = folder.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long a name, no such user, a null character
        raise UserError(
            f"{key}={path!r} cannot be a folder ({error}): give a local checkpoint folder or a hub name."
        ) from None
    if there:
        raise UserError(f"{key}={path} is a file: give the folder that holds config.json and the safetensors weights.")
    return None


def _base(key: str, folder: Path) -> str:
    """The model an adapter says it was trained on."""
    try:
        name = read_json(key, folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    except UserError:
        name = None
    return name if isinstance(name, str) and name.isprintable() and 0 < len(name) < 200 else "another model"


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
        return Path(
            snapshot_download(
                name, revision=revision, allow_patterns=[f"*{suffix}" for suffix in SUFFIXES], endpoint=endpoint
            )
        )
    except GatedRepoError:
        raise UserError(
            f"{key}={at} is gated: accept its licence on the hub and set HF_TOKEN (or `hf auth login`)."
        ) from None
    except RevisionNotFoundError:
        raise UserError(f"{key}={at} has no such revision on the hub: check the revision.") from None
    except RepositoryNotFoundError:
        raise UserError(f"{key}={at} is not on the hub (or is private): check the name, or set HF_TOKEN.") from None
    except LocalEntryNotFoundError:
        raise UserError(
            f"{key}={at} is not in the local hub cache and the hub cannot be reached: download it where there is a"
            f" network (`hf download {name}`) and set HF_HOME, or give a local folder."
        ) from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise UserError(
            f"{key}={at} could not be downloaded ({type(error).__name__}: {str(error).splitlines()[0]})."
        ) from None


@lru_cache(maxsize=1)
def offline_if_unreachable(seconds: float = 3.0) -> bool:
    """Tell the hub libraries at once that there is no network, instead of letting them retry for minutes. True if
    offline."""
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
