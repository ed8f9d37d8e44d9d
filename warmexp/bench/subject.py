"""What is measured: a backbone, questions of wanted lengths, and decoding methods by name."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import OmegaConf

from warmexp.backbone.backbone import Backbone
from warmexp.backbone.checkpoint import Checkpoint
from warmexp.bench.plain import Rule
from warmexp.config import available_device, conf_dir, options
from warmexp.decode.state import Question
from warmexp.decode.strategy import Strategies
from warmexp.environment import keep_float32
from warmexp.errors import UserError, check_choice
from warmexp.init.mask import MaskInit
from warmexp.instantiate import build
from warmexp.length.fixed import FixedLength
from warmexp.remask.none import NoRemask
from warmexp.task.lab import LabTask
from warmexp.unmask.threshold import Threshold
from warmexp.unmask.topk import TopK


@dataclass
class Subject:
    """A loaded backbone, its tokenizer's checkpoint, the canvas it decodes, and the rule that commits."""

    checkpoint: Checkpoint
    backbone: Backbone
    length: FixedLength
    rule: Rule

    def strategies(self, cache: str, canvas: int | None = None, rule: Rule | None = None) -> Strategies:
        rule = rule or self.rule
        unmask = Threshold(rule.tau) if rule.steps is None else TopK(rule.steps)
        length = FixedLength(canvas or self.length.canvas_length, self.length.block_length)
        return Strategies(MaskInit(), unmask, NoRemask(), build_cache(cache), length)

    def questions(self, count: int, prompt_tokens: int | None = None) -> list[Question]:
        """The lab's test questions, as many as wanted; or prompts of exactly `prompt_tokens` tokens of their text."""
        problems = LabTask(limit=count).load()
        if len(problems) < count:
            raise UserError(f"--questions {count} is more than the {len(problems)} there are.")
        prompts = [self.checkpoint.tokenizer.encode_prompt(p.prompt) for p in problems]
        if prompt_tokens is not None:
            text = [token for prompt in prompts for token in prompt]
            text *= -(-prompt_tokens // len(text)) + 1
            prompts = [(text[i * 37 % (len(text) - prompt_tokens) :])[:prompt_tokens] for i in range(count)]
        return [Question(str(i), tuple(prompt)) for i, prompt in enumerate(prompts)]

    def check_room(self, tokens: int, key: str) -> None:
        limit = self.checkpoint.config.max_sequence_length
        if tokens > limit:
            raise UserError(f"{key} makes rows of {tokens} tokens and the backbone takes {limit}: shorten it.")


def subject(chosen: argparse.Namespace) -> Subject:
    device = torch.device(available_device(chosen.device))
    keep_float32()
    lab = chosen.backbone == "lab"
    checkpoint = lab_checkpoint(chosen.dtype) if lab else Checkpoint(chosen.backbone, dtype=chosen.dtype)
    length = FixedLength(chosen.canvas_length or (48 if lab else 256), chosen.block_length or (16 if lab else 32))
    return Subject(checkpoint, checkpoint.load(device), length, Rule(chosen.tau, chosen.steps_per_block))


def lab_checkpoint(dtype: str) -> Checkpoint:
    node: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(conf_dir() / "backbone" / "lab.yaml"))
    return build("backbone", {**node, "dtype": dtype})


def build_cache(name: str):
    check_choice("--cache", name, options("cache"))
    return build("cache", OmegaConf.load(conf_dir() / "cache" / f"{name}.yaml"))
