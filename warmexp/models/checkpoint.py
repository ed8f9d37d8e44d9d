"""Backbones from checkpoints in a published Hugging Face layout (layouts.py, families.py), detected from config.json.

`config.json` says the sizes, `*.safetensors` hold the weights, the tokenizer files say the tokens. The lab's backbone
is stored in exactly LLaDA's layout and read by exactly this code. Nothing that comes with a checkpoint is ever
executed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from warmexp.errors import UserError, check_choice, check_range
from warmexp.models.backbone import ALIGNMENTS, Backbone
from warmexp.models.graphs import GraphedBackbone
from warmexp.models.hub import fingerprint, model_folder, resolved_commit
from warmexp.models.layouts import Layout, read_layout
from warmexp.models.quantization import check_kind, check_sizes, quantize
from warmexp.models.quantization import identity as quantized_as
from warmexp.models.rope import stretched
from warmexp.models.tokenizer import BackboneTokenizer
from warmexp.models.transformer import ModelConfig
from warmexp.models.weights import DTYPES, check_weights, load_transformer

KINDS = {"fast": Backbone, "graphs": GraphedBackbone}


@dataclass
class Checkpoint:
    """A masked diffusion backbone in LLaDA's or Dream's layout. Nothing is loaded before `load`.

    path: `lab:backbone`, a local folder or a hub name; revision: hub revision. dtype: of weights and activations.
    quantization: of the blocks' linear layers, a kind of quantization.py.
    logits: `aligned` (LLaDA), `shifted` by one (Dream; the lab's backbone), or `auto`: the layout's own.
    attention_block: how many positions see each other and nothing behind them (ModelConfig): `auto`, what the layout or
    its config.json says, or a number, for a model that was trained with another; 0 is full attention.
    rope_factor: λ ≥ 1 multiplies the rotary base, for prompts longer than the model was trained on (rope.py); 1 changes
    nothing.
    template: the text around a prompt; special tokens in it are recognised, those in the prompt itself are not.
    template_start, template_turn_end: what a conversation of several turns needs beside it: the beginning of the
    template that stands once, before the first turn (the beginning of text, a system prompt), and what ends an
    assistant's turn; null: no turns.
    end_tokens: tokens that end a response beside the checkpoint's end of text.
    canvas_length, block_length: what it is decoded with unless `length` says otherwise.
    """

    path: str
    revision: str | None = None
    dtype: str = "float32"
    quantization: str = "none"
    logits: str = "auto"
    attention_block: Any = "auto"
    rope_factor: float = 1.0
    template: str = "{prompt}"
    template_start: str = ""
    template_turn_end: str | None = None
    end_tokens: list[str] | None = None
    canvas_length: int = 256
    block_length: int = 32

    def __post_init__(self) -> None:
        check_choice("backbone.dtype", self.dtype, DTYPES)
        check_kind(self.quantization, self.dtype)
        check_choice("backbone.logits", self.logits, [*ALIGNMENTS, "auto"])
        check_range(
            "backbone.rope_factor",
            self.rope_factor,
            1,
            1e6,
            "λ, by which the rotary base is multiplied; 1 leaves it alone",
        )
        if self.attention_block != "auto":
            check_range(
                "backbone.attention_block", self.attention_block, 0, 2**20, "positions that see each other; 0: all do"
            )
        if self.template.count("{prompt}") != 1:
            raise UserError(f"backbone.template={self.template!r} must contain {{prompt}} exactly once.")

    @cached_property
    def folder(self) -> Path:
        return model_folder("backbone.path", self.path, self.revision)

    @cached_property
    def _read(self) -> tuple[Layout, ModelConfig]:
        return read_layout(self.folder)

    @property
    def layout(self) -> Layout:
        return self._read[0]

    @cached_property
    def config(self) -> ModelConfig:
        config = self._read[1]
        check_sizes(self.quantization, self.layout.name, config)
        if self.attention_block != "auto":
            config = replace(config, attention_block=int(self.attention_block))
        return stretched(config, self.rope_factor)

    @cached_property
    def _model(self) -> str:
        """Which model it is. What is wrong with its weights is said before all of them are read."""
        check_weights(self.folder, *self._read)
        return fingerprint(self.folder)

    @property
    def alignment(self) -> str:
        """`logits`, resolved."""
        return self.layout.logits if self.logits == "auto" else self.logits

    @cached_property
    def tokenizer(self) -> BackboneTokenizer:
        turns = self.template_start, self.template_turn_end
        ends, mask = self.end_tokens or (), self.layout.mask_name
        return BackboneTokenizer.load(self.folder, self.config, self.template, ends, *turns, mask_name=mask)

    def check_turns(self) -> None:
        """
        Raises:
            UserError: the template has one user turn only, or does not begin with `template_start`.
        """
        before, after = self.template.split("{prompt}")
        if self.template_turn_end is None or not after:
            raise UserError(
                f"task.shots=turns needs a chat template, and backbone.template={self.template!r} with"
                f" backbone.template_turn_end={self.template_turn_end!r} has one user turn only: choose"
                " task.shots=turn or none, or an"
                " instruct model's option such as backbone=llada_8b."
            )
        if not before.startswith(self.template_start):
            raise UserError(
                f"backbone.template_start={self.template_start!r} is not how backbone.template={self.template!r}"
                " begins: give both, or task.shots=turn, which reads the template alone."
            )

    def identity(self) -> dict[str, Any]:
        """What of this backbone changes results. `revision` is the commit a hub model was resolved to, None for a local
        folder."""
        return {
            "model": self._model,
            "revision": resolved_commit(self.folder),
            "dtype": self.dtype,
            **quantized_as(self.quantization),
            "logits": self.alignment,
            "rope_factor": float(self.rope_factor),
            **({"attention_block": self.config.attention_block} if self.config.attention_block else {}),
            "template": self.template,
            "end": self.end_tokens or [],
            # Which of its files' settings are not followed, where there are any: earlier versions followed them.
            **({"set_aside": list(self.tokenizer.set_aside)} if self.tokenizer.set_aside else {}),
            **({"textless": [list(run) for run in self._textless]} if self._textless else {}),
        }

    @cached_property
    def _textless(self) -> tuple[tuple[int, int], ...]:
        return self.tokenizer.textless(self.config.embedding_size, self.config.vocab_size)

    def load(self, device: torch.device, engine: str = "fast") -> Backbone:
        """The model on a device. engine: how its forwards are computed, a key of KINDS.

        Raises:
            UserError: what is wrong with the weights, or that they are others than when `identity` was asked for.
        """
        transformer = load_transformer(self.folder, self.layout, self.config, DTYPES[self.dtype], device)
        if "_model" in vars(self) and fingerprint(self.folder) != self._model:
            raise UserError(f"backbone.path={self.path} was changed while it was in use: run the same command again.")
        config, end = self.config, self.tokenizer.end_ids
        packed = quantize(transformer, self.quantization).pack()
        return KINDS[engine](packed, config.mask_token_id, config.eos_token_id, self.alignment, end, self._textless)
