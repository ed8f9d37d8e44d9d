"""What a run needs before it can begin: weights, questions, a token of the hub. Looked up, never fetched.

Everything is looked at, so that all that is missing is known at once; a run itself stops at the first.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from warmexp.errors import UserError
from warmexp.models.hub import model_folder, offline_if_unreachable

# Of the models that the shipped options name: GiB of weights by their number of parameters, two bytes each, whether a
# licence has to be accepted first, and the sizes they have (models/published.py). Used where the hub cannot be
# asked, which otherwise says it.
PUBLISHED = {
    "GSAI-ML/LLaDA-8B-Instruct": (14.9, False, "llada"),
    "GSAI-ML/LLaDA-8B-Base": (14.9, False, "llada"),
    "GSAI-ML/LLaDA-1.5": (14.9, False, "llada"),
    "Zigeng/dParallel-LLaDA-8B-instruct": (14.9, False, "llada"),
    "Dream-org/Dream-v0-Instruct-7B": (14.2, False, "dream"),
    "Dream-org/Dream-v0-Base-7B": (14.2, False, "dream"),
    "apple/DiffuCoder-7B-Instruct": (14.2, False, "dream"),
    "Zigeng/dParallel_Dream_7B_Instruct": (14.2, False, "dream"),
    "JetLM/SDAR-1.7B-Chat": (3.2, False, "sdar"),
    "JetLM/SDAR-4B-Chat": (8.2, False, None),
    "JetLM/SDAR-8B-Chat": (15.3, False, None),
    "Efficient-Large-Model/Fast_dLLM_v2_1.5B": (2.9, False, "fast_dllm_v2"),
    "inclusionAI/LLaDA-MoE-7B-A1B-Instruct": (13.7, False, "llada_moe"),
    "inclusionAI/LLaDA2.0-mini": (30.3, False, "llada2"),
    "inclusionAI/LLaDA2.1-mini": (30.3, False, "llada2"),
    "laid:smdm": (None, False, "smdm"),
    "meta-llama/Llama-2-7b-hf": (12.6, True, None),
    "meta-llama/Llama-3.1-8B-Instruct": (15.0, True, None),
    "Qwen/Qwen2.5-0.5B-Instruct": (0.9, False, None),
    "Qwen/Qwen2.5-1.5B-Instruct": (2.9, False, None),
}
GIB = 1 << 30
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Need:
    """key: of the configuration. name: what is named there. place: where it lies, or will lie. here: whether it is
    there. bytes: to be downloaded, None where nobody knows. missing: a sentence, where it cannot be had as things
    are."""

    key: str
    name: str
    place: Path | None
    here: bool
    bytes: int | None = None
    missing: str | None = None


def model(key: str, path: str | None, revision: str | None) -> Need:
    """The weights of a backbone or a proposer."""
    if not path:
        return Need(key, "nothing", None, False, None, f"{key} must be given: {key}=…")
    local = path.startswith("lab:") or Path(path).expanduser().exists() or not _HUB_NAME.fullmatch(path)
    if local:
        try:
            return Need(key, path, model_folder(key, path, revision), True)
        except UserError as error:
            return Need(key, path, None, False, None, str(error))
    place = hub_cache() / f"models--{path.replace('/', '--')}"
    there = _snapshot(path, revision)
    if there is not None:
        return Need(key, path, there, True)
    size, gated, _ = PUBLISHED.get(path, (None, False, None))
    size_in_bytes = None if size is None else int(size * GIB)
    if offline_if_unreachable():
        return Need(key, path, place, False, size_in_bytes, _unreachable(key, path))
    return _asked_of_the_hub(key, path, revision, place, size_in_bytes, gated)


def _asked_of_the_hub(key: str, name: str, revision: str | None, place: Path, size: int | None, gated: bool) -> Need:
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    missing = None
    try:
        told = HfApi(endpoint=os.environ.get("HF_ENDPOINT")).model_info(name, revision=revision, files_metadata=True)
        wanted = [file for file in told.siblings or () if file.rfilename.endswith((".safetensors", ".json", ".model"))]
        size, gated = sum(file.size or 0 for file in wanted) or size, bool(told.gated)
    except RepositoryNotFoundError:
        missing = f"{key}={name} is not on the hub, or is private: check the name, or set HF_TOKEN."
    except (HfHubHTTPError, OSError, ValueError) as error:
        missing = f"{key}={name}: the hub did not answer ({type(error).__name__}): try again."
    if missing is None and gated and get_token() is None:
        missing = f"{key}={name} is gated: accept its licence on the hub and set HF_TOKEN (or `hf auth login`)."
    return Need(key, name, place, False, size, missing)


def _unreachable(key: str, name: str) -> str:
    token = ", which also needs its licence accepted and HF_TOKEN" if PUBLISHED.get(name, (0, False))[1] else ""
    return (
        f"{key}={name} is not in the local hub cache and the hub cannot be reached: download it where there is a"
        f" network (`hf download {name}`{token}) and set HF_HOME, or give a local folder."
    )


def _snapshot(name: str, revision: str | None) -> Path | None:
    """The cached folder of a model whose weights are all there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json", revision=revision)
    if not isinstance(found, str):
        return None
    try:
        return model_folder("path", str(Path(found).parent))
    except UserError:
        return None


def questions(task: dict[str, Any]) -> Need:
    """The questions of a task's node of the configuration."""
    path, dataset = task.get("path"), task.get("dataset")
    if path is not None or dataset is None:
        if path is None and str(task.get("_target_", "")).endswith("JsonlTask"):
            return Need("task.path", "nothing", None, False, None, "task.path must be given: task.path=…")
        place = None if path is None else Path(str(path)).expanduser()
        absent = place is not None and not place.exists()
        missing = f"task.path={path} is not there: give a JSONL file." if absent else None
        return Need("task.path", str(path or "shipped"), place, not absent, None, missing)
    caches = (
        Path(os.environ.get("HF_DATASETS_CACHE") or _home() / "datasets") / dataset.replace("/", "___").lower(),
        hub_cache() / f"datasets--{dataset.replace('/', '--')}",
    )
    there = next((cache for cache in caches if cache.is_dir()), None)
    missing = None
    if there is None and offline_if_unreachable():
        missing = (
            f"task.dataset={dataset} is not in the local cache and the hub cannot be reached: give"
            " task.path=FILE.jsonl, or load it once where there is a network."
        )
    return Need("task.dataset", dataset, there or caches[0], there is not None, None, missing)


def layout(path: str) -> str | None:
    """Of a backbone that is not here, the layout whose sizes it has (models/published.py); None where they are not
    known."""
    return PUBLISHED.get(path, (None, None, None))[2]


def hub_cache() -> Path:
    """Where the hub's files lie on this machine."""
    return Path(os.environ.get("HF_HUB_CACHE") or _home() / "hub")


def _home() -> Path:
    return Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")


@lru_cache(maxsize=8)
def free_disk(place: Path) -> int | None:
    """Bytes that are free where a folder is, or would be."""
    for folder in (place, *place.absolute().parents):
        if folder.is_dir():
            return shutil.disk_usage(folder).free
    return None
