"""Backbones from checkpoints in LLaDA's published Hugging Face layout.

`config.json` says the sizes, `*.safetensors` hold `model.transformer.*`, `tokenizer.json` is the tokenizer. The lab's backbone is stored
in exactly this layout and read by exactly this code.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from warmexp.backbone.backbone import ALIGNMENTS, Backbone
from warmexp.backbone.tokenizer import BackboneTokenizer
from warmexp.backbone.transformer import ModelConfig, Transformer
from warmexp.errors import UserError, check_choice
from warmexp.hub import fingerprint, model_folder, read_json

DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PREFIX = "model.transformer."
# Fields of a LLaDA config.json that would make it another network than the one implemented here.
_FIXED = {
    "activation_type": "silu",
    "block_type": "llama",
    "layer_norm_type": "rms",
    "rope": True,
    "alibi": False,
    "attention_layer_norm": False,
}


@dataclass
class LLaDACheckpoint:
    """A masked diffusion backbone in LLaDA's layout. Nothing is loaded before `load`.

    path: `lab:backbone`, a local folder or a hub name; revision: hub revision. dtype: of weights and activations.
    logits: `aligned` (LLaDA) or `shifted` by one (Dream; the lab's backbone).
    template: the text around a prompt; special tokens in it are recognised, those in the prompt itself are not.
    end_tokens: tokens that end a response beside the checkpoint's end of text.
    canvas_length, block_length: what it is decoded with unless `length` says otherwise.
    """

    path: str
    revision: str | None = None
    dtype: str = "float32"
    logits: str = "aligned"
    template: str = "{prompt}"
    end_tokens: list[str] | None = None
    canvas_length: int = 256
    block_length: int = 32

    def __post_init__(self) -> None:
        check_choice("backbone.dtype", self.dtype, DTYPES)
        check_choice("backbone.logits", self.logits, ALIGNMENTS)
        if self.template.count("{prompt}") != 1:
            raise UserError(f"backbone.template={self.template!r} must contain {{prompt}} exactly once.")

    @cached_property
    def folder(self) -> Path:
        return model_folder("backbone.path", self.path, self.revision)

    @cached_property
    def config(self) -> ModelConfig:
        return read_config(self.folder)

    @cached_property
    def tokenizer(self) -> BackboneTokenizer:
        return BackboneTokenizer.load(self.folder, self.config, self.template, self.end_tokens or ())

    def identity(self) -> dict[str, Any]:
        """What of this backbone changes results."""
        model = fingerprint(self.folder)
        return {"model": model, "dtype": self.dtype, "logits": self.logits, "template": self.template, "end": self.end_tokens or []}

    def load(self, device: torch.device) -> Backbone:
        transformer = load_transformer(self.folder, self.config, DTYPES[self.dtype], device)
        ids = self.tokenizer
        return Backbone(transformer, self.config.mask_token_id, self.config.eos_token_id, self.logits, ids.end_ids)


def read_config(folder: Path) -> ModelConfig:
    """ModelConfig from a LLaDA config.json; what this transformer does not implement is refused by name."""
    raw = read_json("backbone.path", folder / "config.json")
    for name, value in _FIXED.items():
        if raw.get(name, value) != value:
            raise UserError(f"backbone.path={folder}: config.json has {name}={raw[name]!r}, only {value!r} is implemented.")
    required = ("d_model", "n_layers", "n_heads", "mlp_hidden_size", "vocab_size", "max_sequence_length", "mask_token_id", "eos_token_id")
    missing = [name for name in required if raw.get(name) is None]
    if missing:
        raise UserError(
            f"backbone.path={folder}: config.json lacks {', '.join(missing)}: give a checkpoint in LLaDA's layout (model_type llada)."
        )
    return ModelConfig(
        d_model=raw["d_model"],
        n_layers=raw["n_layers"],
        n_heads=raw["n_heads"],
        n_kv_heads=raw.get("n_kv_heads") or raw["n_heads"],
        mlp_hidden_size=raw["mlp_hidden_size"],
        vocab_size=raw["vocab_size"],
        embedding_size=raw.get("embedding_size") or raw["vocab_size"],
        max_sequence_length=raw["max_sequence_length"],
        mask_token_id=raw["mask_token_id"],
        eos_token_id=raw["eos_token_id"],
        rope_theta=float(raw.get("rope_theta", 10_000.0)),
        rms_norm_eps=float(raw.get("rms_norm_eps", 1e-5)),
        include_bias=bool(raw.get("include_bias", False)),
        include_qkv_bias=bool(raw.get("include_qkv_bias", False)),
        weight_tying=bool(raw.get("weight_tying", False)),
    )


def load_transformer(folder: Path, config: ModelConfig, dtype: torch.dtype, device: torch.device) -> Transformer:
    """Weights straight from safetensors to the device and dtype, one tensor at a time (no second copy in host memory).

    Raises:
        UserError: naming missing, unexpected and mis-shaped tensors, or a shard that cannot be read.
    """
    with torch.device("meta"):
        transformer = Transformer(config)
    wanted = {PREFIX + name: parameter for name, parameter in transformer.state_dict().items()}
    unexpected: list[str] = []
    misshaped: list[str] = []
    loaded: dict[str, torch.Tensor] = {}
    for shard in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(shard, framework="pt", device=str(device)) as tensors:
                for name in tensors.keys():  # noqa: SIM118 (not a dict)
                    if name not in wanted:
                        unexpected.append(name)
                        continue
                    shape = tuple(tensors.get_slice(name).get_shape())
                    if shape != tuple(wanted[name].shape):
                        misshaped.append(f"{name} {list(shape)} instead of {list(wanted[name].shape)}")
                        continue
                    loaded[name.removeprefix(PREFIX)] = tensors.get_tensor(name).to(dtype)
        except (SafetensorError, OSError) as error:
            raise UserError(f"backbone.path={folder}: {shard.name} cannot be read ({error}); download it again.") from None
    missing = [n for n in wanted if n.removeprefix(PREFIX) not in loaded and not any(m.startswith(n + " ") for m in misshaped)]
    problems = [
        f"{what}: {_few(names)}" for what, names in (("missing", missing), ("unexpected", unexpected), ("mis-shaped", misshaped)) if names
    ]
    if problems:
        raise UserError(f"backbone.path={folder}: the weights do not fit config.json ({'; '.join(problems)}).")
    transformer.load_state_dict(loaded, assign=True)
    return transformer.requires_grad_(False).eval()


def _few(names: list[str], n: int = 4) -> str:
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")
