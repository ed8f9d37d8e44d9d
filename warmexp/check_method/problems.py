"""Small random decoding problems: a model of a few thousand weights, prompts, and proposals that are whole, cut short
or missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from typing import Any

import torch

from warmexp.config.instantiate import parts
from warmexp.decode.batch import Decoded
from warmexp.decode.canvas import Question
from warmexp.decode.loop import stream
from warmexp.decode.meter import Meter
from warmexp.decode.strategy import BASES, Strategies
from warmexp.models.backbone import Backbone
from warmexp.models.plain import PlainBackbone
from warmexp.models.transformer import ModelConfig, Transformer

VOCABULARY, CANVAS, BLOCK, QUESTIONS = 24, 12, 4, 3
END = 0
MASK = VOCABULARY - 1


class Endless(Exception):
    """A question took more forwards than any method may."""


@dataclass
class Bounded(Meter):
    """Stops what would go on for ever. most: forwards of one question."""

    most: int = 12 * CANVAS

    def _enter(self, row) -> None:
        super()._enter(row)
        late = [question for question in row.questions if self.cost(question).nfe > self.most]
        if late:
            raise Endless(f"question {late[0]} is not finished after {self.most} forwards of a canvas of {CANVAS}")


@dataclass(frozen=True)
class Letters:
    """A text's tokens are its letters' numbers; an answer is the three tokens behind the first one that 5 divides."""

    mask: int = MASK
    end: int = END
    stop: tuple[str, ...] = ()

    def encode(self, text: str) -> list[int]:
        return [1 + ord(letter) % (self.mask - 1) for letter in text]

    def pieces(self) -> dict[int, str]:
        return {i: chr(96 + i) for i in range(1, self.mask)}

    def special(self) -> tuple[int, ...]:
        return self.end, self.mask

    def answer(self, ids: Sequence[int], kind: str) -> tuple[str, int, int] | None:
        first = next((i for i, token in enumerate(ids) if token % 5 == 0), len(ids))
        return (str(list(ids[first + 1 : first + 4])), first + 1, first + 4) if first + 4 <= len(ids) else None


@dataclass
class Problem:
    """What a method is tried on: questions, a backbone and the nodes of the configuration that compose it."""

    backbone: Backbone
    questions: list[Question]
    nodes: dict[str, Any]
    seed: int

    def strategies(self) -> Strategies:
        """Made anew, on a small canvas."""
        made = Strategies(**parts(self.nodes, BASES))
        for one in made:
            one.bind(Letters(), CANVAS)
        return replace(made, length=replace(made.length, canvas_length=CANVAS, block_length=BLOCK))

    @cached_property
    def alone(self) -> list[Decoded]:
        """Every question decoded alone: what all else is compared with."""
        return self.decode(self.strategies(), batch=1)

    def decode(
        self, s: Strategies, questions: Iterable[Question] | None = None, batch: int = QUESTIONS, plain: bool = False
    ) -> list[Decoded]:
        """The questions (all by default) in the order in which they are finished. plain: by the forward without any
        machinery."""
        return list(self.stream(s, questions, batch, plain))

    def stream(
        self, s: Strategies, questions: Iterable[Question] | None, batch: int, plain: bool = False
    ) -> Iterator[Decoded]:
        backbone = PlainBackbone(**vars(self.backbone)) if plain else self.backbone
        yield from stream(
            backbone, self.questions if questions is None else questions, s, self.seed, Bounded(backbone), batch
        )


def problems(nodes: dict[str, Any], seeds: Sequence[int]) -> Iterator[Problem]:
    """A problem per seed for what the nodes compose, the same at every call; logits are aligned for even seeds, shifted
    for odd ones."""
    for seed in seeds:
        blocks = BLOCK * parts(nodes, BASES)["cache"].blocks
        yield Problem(
            _backbone(seed, blocks), [_question(Random(f"{seed} {i}"), i) for i in range(QUESTIONS)], nodes, seed
        )


def _question(draw: Random, index: int) -> Question:
    def tokens(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(MASK) for _ in range(count))

    proposal = tokens(draw.choice((CANVAS, CANVAS, CANVAS // 2, 0)))
    trust = tuple(draw.random() for _ in proposal) if draw.random() < 0.6 else ()
    written = len(proposal) if draw.random() < 0.5 else draw.randrange(len(proposal) + 1)
    numeric = tuple(token % 3 == 0 for token in proposal)
    return Question(f"q{index}", tokens(draw.randint(1, 7)), proposal, trust, written, numeric)


@dataclass(frozen=True)
class Stand:
    """What a method's `check` asks of a backbone that is not there yet: its config and how its logits stand. It has no
    tokenizer."""

    config: ModelConfig
    alignment: str = "shifted"
    tokenizer: None = None


def model_config(attention_block: int = 0) -> ModelConfig:
    """Of the models of the problems."""
    return ModelConfig(
        d_model=16,
        n_layers=2,
        n_heads=4,
        n_kv_heads=2,
        mlp_hidden_size=24,
        vocab_size=VOCABULARY,
        embedding_size=VOCABULARY,
        max_sequence_length=64,
        mask_token_id=MASK,
        eos_token_id=END,
        rope_theta=100.0,
        attention_block=attention_block,
    )


def _backbone(seed: int, attention_block: int = 0) -> Backbone:
    """Random weights so large that confidences spread over (0, 1) and no two of them are equal."""
    transformer = Transformer(model_config(attention_block)).double().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name, weight in transformer.state_dict().items():
        drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        scale = 0.7 if name.startswith("ff_out") else 0.5
        weight.copy_(
            1 + 0.2 * drawn if "norm" in name or "ln_f" in name else drawn if name.startswith("wte") else scale * drawn
        )
    return Backbone(transformer, mask_id=MASK, eos_id=END, logits=("aligned", "shifted")[seed % 2])
