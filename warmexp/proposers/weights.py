"""That a proposer's folder holds the model its config.json tells of, all of it and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from warmexp.errors import UserError
from warmexp.models.files import ADAPTER_CONFIG, read_json, shards, unreadable

_KEY = "proposer.path"
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers")


def check_folder(folder: Path) -> None:
    """Before anything is built from config.json: the headers of the weights tell how much there can be.

    Raises:
        UserError: more layers than tensors, or labels than anything has (building them would take for ever), or an
            adapter beside the weights, for which transformers would load the model that it names instead of this one,
            where peft is installed.
    """
    if (folder / ADAPTER_CONFIG).is_file():
        raise UserError(
            f"{_KEY}={folder} has an {ADAPTER_CONFIG} beside its weights, for which transformers loads another model:"
            " remove it if the adapter is merged, else merge it first."
        )
    tensors = 0
    for shard in shards(_KEY, folder):
        try:
            with safe_open(shard, framework="np") as file:
                tensors += len(file.keys())
        except (SafetensorError, OSError) as error:
            raise unreadable(_KEY, shard, error) from None
    _check_layers(folder, read_json(_KEY, folder / "config.json"), tensors)


_MOST_LABELS = 2**16  # transformers makes a table of them before it looks at anything else


def _check_layers(folder: Path, config: dict[str, Any], tensors: int) -> None:
    """Also those of a part of the model (`text_config`), which stand one level below."""
    for name, value in config.items():
        if name in _LAYERS and isinstance(value, (int, float)) and not value <= tensors:
            raise UserError(
                f"{_KEY}={folder}: config.json has {name}={value} and the weights {tensors} tensors: one is another"
                " model's."
            )
        if name == "num_labels" and isinstance(value, (int, float)) and not value <= _MOST_LABELS:
            raise UserError(
                f"{_KEY}={folder}: config.json has num_labels={value}, and a causal language model has none: remove it."
            )
        if isinstance(value, dict):
            _check_layers(folder, {k: v for k, v in value.items() if not isinstance(v, dict)}, tensors)


def check_loaded(folder: Path, found: dict[str, Any]) -> None:
    """From transformers' loading report: it draws what is missing at random.

    Raises:
        UserError: naming a tensor that is missing, or has another shape.
    """
    for what, said in (("missing_keys", "lack"), ("mismatched_keys", "have in another shape")):
        names = sorted(str(name) for name in found.get(what) or ())
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UserError(
                f"{_KEY}={folder}: the weights {said} {names[0][:200]}{more}, which config.json asks for: download it"
                " again."
            )
