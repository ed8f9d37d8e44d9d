"""Another autoregressive model as the guide."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn.functional import pad

from warmexp.decode.strategy import Guide, Setup
from warmexp.errors import UserError, check_choice
from warmexp.models.autoregressive import AUTOREGRESSIVE
from warmexp.models.backbone import Backbone
from warmexp.models.files import shown
from warmexp.models.hub import fingerprint, model_folder, resolved_commit
from warmexp.models.keys_values import position_bytes
from warmexp.models.layouts import read_layout
from warmexp.models.tokenizer import runs_without
from warmexp.models.tokenizer_files import read_tokenizer
from warmexp.models.transformer import ModelConfig, Transformer, parameters
from warmexp.models.weights import DTYPES, check_weights, load_transformer


@dataclass
class CheckpointGuide(Guide):
    """A causal language model with the backbone's own tokenizer, such as Qwen2.5 beside Dream (FlashDLM, arXiv
    2505.21467; APD, 2506.00413): in Qwen2's, Qwen3's or Llama's layout, read by the transformer that reads backbones.

    It is told the backbone's ids, so every token of text has to have the same id in both; a model with another
    vocabulary is refused. Tokens that it or the backbone does not have, such as the mask, it never says. What stands
    before the response is the backbone's prompt, template and all.

    path: `lab:NAME`, a local folder or a hub name; revision: hub revision. dtype: of weights and activations.
    """

    path: str | None = None
    revision: str | None = None
    dtype: str = "bfloat16"
    guides = True

    def __post_init__(self) -> None:
        check_choice("guide.dtype", self.dtype, DTYPES)
        self._loaded: tuple[torch.device, int, Backbone] | None = None

    @cached_property
    def folder(self) -> Path:
        if self.path is None:
            raise UserError(
                "guide.path must be given: guide.path=FOLDER or a hub name, of an autoregressive model with the"
                " backbone's tokenizer, such as Qwen/Qwen2.5-0.5B beside dream_7b."
            )
        return model_folder("guide.path", self.path, self.revision)

    @cached_property
    def _which(self) -> str:
        with _said_of_a_guide():
            check_weights(self.folder, *read_layout(self.folder, AUTOREGRESSIVE))
        return fingerprint(self.folder, "guide.path")

    @cached_property
    def _config(self) -> ModelConfig:
        with _said_of_a_guide():
            return read_layout(self.folder, AUTOREGRESSIVE)[1]

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        with _said_of_a_guide():
            return read_tokenizer(self.folder)

    def identity(self) -> dict[str, Any]:
        return {"model": self._which, "revision": resolved_commit(self.folder), "dtype": self.dtype}

    def check(self, setup: Setup) -> None:
        super().check(setup)
        backbone = setup.parts.get("backbone")
        if backbone is None:
            return
        theirs, ours = self._tokenizer.get_vocab(), backbone.tokenizer.tokenizer.get_vocab()
        names = {i: name for name, i in ours.items()}
        special = backbone.tokenizer.special_ids
        for name, i in sorted(ours.items(), key=lambda one: one[1]):
            if i not in special and theirs.get(name) != i:
                raise self._other(
                    setup, f"{shown(name)} is token {i} of the backbone and {theirs.get(name, 'none')} of it"
                )
        for name, i in sorted(theirs.items(), key=lambda one: one[1]):
            if names.get(i, name) != name:
                raise self._other(setup, f"token {i} is {shown(names[i])} of the backbone's and {shown(name)} of it")
        rows = self._config.embedding_size
        for name, i in sorted(theirs.items(), key=lambda one: one[1]):
            if i >= rows and i not in special and i in names:
                raise UserError(
                    f"guide.path={self.path}: {shown(name)} is token {i} of its tokenizer and its embedding table has"
                    f" {rows} rows: they belong to different models, give a checkpoint with its own tokenizer."
                )
        known = set(theirs.values())
        unknown = [i for i in backbone.tokenizer.encode_prompt("") if i not in known]
        if unknown:  # it would be read as a row that no training has touched
            raise UserError(
                f"guide.path={self.path} does not have {shown(names[unknown[0]])}, with which {setup.said('backbone')}"
                f" frames a prompt: choose another guide, or a backbone.template without it."
            )

    def needs(self, backbone: ModelConfig, dtype: torch.dtype, positions: int) -> int:
        own = DTYPES[self.dtype]
        return parameters(self._config) * own.itemsize + positions * position_bytes(self._config, own)

    @property
    def most_positions(self) -> int:
        return self._config.max_sequence_length

    def _other(self, setup: Setup, why: str) -> UserError:
        return UserError(
            f"guide.path={self.path} has another vocabulary than {setup.said('backbone')} ({why}): choose a guide with"
            " the backbone's own tokenizer, guide=self, or the model as a proposer."
        )

    def model(self, backbone: Backbone) -> Backbone:
        device, rows = backbone.device, backbone.vocabulary
        if self._loaded is None or self._loaded[:2] != (device, rows):
            self._loaded = None  # before the next is there
            with _said_of_a_guide():
                layout = read_layout(self.folder, AUTOREGRESSIVE)[0]
                transformer = load_transformer(self.folder, layout, self._config, DTYPES[self.dtype], device)
            if fingerprint(self.folder, "guide.path") != self._which:
                raise UserError(f"guide.path={self.path} was changed while it was in use: run the same command again.")
            most = min(rows, self._config.vocab_size)
            nobody = {i for first, past in backbone.textless for i in range(first, past)}
            has = [i for i in self._tokenizer.get_vocab().values() if i < most and i not in nobody]
            # The backbone's name for what is never said and for what ends a text: a guide is asked in its tokens.
            guide = replace(
                backbone.read_causally(),
                transformer=_resized(transformer, rows).pack(),
                textless=runs_without(has, rows),
            )
            self._loaded = device, rows, guide
        return self._loaded[2]


def _resized(transformer: Transformer, rows: int) -> Transformer:
    """With as many rows in embedding table and head: further ones are zeros, which stand for no token of it."""
    tables = [transformer.wte, *([] if transformer.config.weight_tying else [transformer.ff_out])]
    for table in tables:
        weight = table.weight[:rows]
        table.weight = nn.Parameter(pad(weight, (0, 0, 0, rows - len(weight))), requires_grad=False)
    transformer.config = replace(transformer.config, embedding_size=rows)
    return transformer


@contextmanager
def _said_of_a_guide() -> Iterator[None]:
    """Reading a checkpoint says `backbone.path` of whatever it reads."""
    try:
        yield
    except UserError as error:
        raise UserError(
            str(error).replace("backbone.", "guide.").replace("smaller backbone", "smaller guide")
        ) from None
