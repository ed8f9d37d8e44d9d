"""What is measured: a backbone (a checkpoint's, or random weights of a wanted size), prompts, a canvas, and the rule
that commits."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from omegaconf import OmegaConf

from warmexp.bench.load import load
from warmexp.bench.plain import Rule
from warmexp.config.devices import available_device
from warmexp.config.instantiate import build
from warmexp.config.keys import conf_dir, options
from warmexp.decode.canvas import Question
from warmexp.decode.strategy import Strategies
from warmexp.errors import UserError, check_choice, check_range
from warmexp.methods.anchor.none import NoAnchor
from warmexp.methods.init.mask import MaskInit
from warmexp.methods.length.fixed import FixedLength
from warmexp.methods.remask.none import NoRemask
from warmexp.methods.schedule.blocks import Blocks
from warmexp.methods.unmask.threshold import Threshold
from warmexp.methods.unmask.topk import TopK
from warmexp.models.backbone import Backbone
from warmexp.models.checkpoint import KINDS, Checkpoint
from warmexp.models.layouts import LAYOUTS
from warmexp.models.published import SHAPES as PUBLISHED
from warmexp.models.published import TINY, TOKENS, published_config
from warmexp.models.transformer import ModelConfig, Transformer
from warmexp.models.weights import DTYPES
from warmexp.runs.environment import keep_float32, no_cudnn_attention
from warmexp.tasks.data import read_file
from warmexp.tasks.lab import LabTask

# Random weights by size. The head of 100m has LLaDA-8B's share of the arithmetic (7 %).
SHAPES = {
    "tiny": {"d_model": 64, "layers": 2, "heads": 4, "kv_heads": 2, "mlp": 128, "rows": 128},
    "100m": {"d_model": 768, "layers": 12, "heads": 12, "kv_heads": 12, "mlp": 2048, "rows": 8192},
    **PUBLISHED,
}
# Logits of standard deviation 4: confidences then spread over (0, 1), as a trained model's do, and decisions rarely
# tie.
HEAD_GAIN = 4.0
CONTEXT = 8192
PROMPT = "Question: {question}\nAnswer:"  # around a question of a file


@dataclass
class Subject:
    """prompts: so many prompts of so many tokens (None: as they come). answer_tokens: the counting rule, see RULE.
    load: what loading it took (bench/load.py); None for weights that were drawn."""

    name: str
    backbone: Backbone
    length: FixedLength
    rule: Rule
    prompts: Callable[[int, int | None], list[tuple[int, ...]]]
    load: dict[str, float] | None = None

    RULE = "tokens: response tokens before the first end-of-text; what follows it is decoded too, and not counted"

    def answer_tokens(self, ids: Sequence[int]) -> int:
        return next((i for i, token in enumerate(ids) if token in self.backbone.end_ids), len(ids))

    def questions(self, count: int, prompt: int | None = None) -> list[Question]:
        return [Question(str(i), tokens) for i, tokens in enumerate(self.prompts(count, prompt))]

    @cached_property
    def published(self) -> Backbone:
        """The same weights as torch.nn.Linear has them, for the plain decoder: its matrix products are torch's own."""
        state = self.backbone.transformer.state_dict()
        with torch.device("meta"):
            transformer = Transformer(self.backbone.transformer.config)
        transformer.load_state_dict(
            {name: t.to_dense() if t.is_mkldnn else t for name, t in state.items()}, assign=True
        )
        own = {f.name: getattr(self.backbone, f.name) for f in fields(Backbone)}
        return Backbone(**own | {"transformer": transformer.requires_grad_(False).eval()})

    def strategies(self, cache: str, canvas: int | None = None) -> Strategies:
        unmask = Threshold(self.rule.tau) if self.rule.steps is None else TopK(self.rule.steps)
        length = FixedLength(canvas or self.length.canvas_length, self.length.block_length)
        return Strategies(MaskInit(), unmask, NoRemask(), Blocks(), build_cache(cache), length, NoAnchor())

    def check_room(self, tokens: int, key: str) -> None:
        limit = self.backbone.transformer.config.max_sequence_length
        if tokens > limit:
            raise UserError(f"{key} makes rows of {tokens} tokens and --model {self.name} takes {limit}: shorten it.")

    def identity(self) -> dict[str, Any]:
        c = self.backbone.transformer.config
        return {
            "name": self.name,
            "parameters": sum(p.numel() for p in self.backbone.transformer.parameters()),
            "weights_bytes": self.weights_bytes,
            "dtype": str(self.backbone.dtype).removeprefix("torch."),
            "logits": self.backbone.logits,
            "shape": {
                name: getattr(c, name) for name in ("d_model", "n_layers", "n_heads", "n_kv_heads", "embedding_size")
            },
            "canvas_length": self.length.canvas_length,
            "block_length": self.length.block_length,
            "tau": self.rule.tau if self.rule.steps is None else None,
            "steps_per_block": self.rule.steps,
        }

    @property
    def weights_bytes(self) -> int:
        return sum(p.numel() * p.element_size() for p in self.backbone.transformer.parameters())


def subject(chosen: argparse.Namespace) -> Subject:
    """From the command line's options: model, dtype, device, file, canvas, block, tau, steps, seed."""
    device = torch.device(available_device(chosen.device))
    keep_float32()
    no_cudnn_attention()
    lab = chosen.model == "lab"
    length = FixedLength(
        chosen.canvas or (48 if lab else 256), chosen.block or (16 if lab else BLOCKS.get(chosen.model, 32))
    )
    check_range("--tau", chosen.tau, 0, 100, "the confidence from which tokens are committed", open_low=True)
    if chosen.steps is not None:
        check_range("--steps", chosen.steps, 1, 10**6, "the number of forwards planned for a block")
    if chosen.model in SHAPES:
        if chosen.file:
            raise UserError(
                f"--file holds text and --model {chosen.model}, random weights, has no tokenizer: leave --file out."
            )
        backbone = random_backbone(chosen.model, DTYPES[chosen.dtype], device, chosen.seed, tiny=chosen.tiny)
        _check_blocks(chosen, backbone, length.block_length)
        rule, prompts = Rule(chosen.tau, chosen.steps or 8), random_prompts(backbone, chosen.seed)
        return Subject(chosen.model, _engine(chosen, backbone), length, rule, prompts)
    checkpoint = lab_checkpoint(chosen.dtype) if lab else Checkpoint(chosen.model, dtype=chosen.dtype)
    prompts = checkpoint_prompts(checkpoint, chosen.file)
    prompts(chosen.questions, chosen.prompt)  # what is wrong with them is said before weights are read
    backbone, took = load(checkpoint, device)
    return Subject(chosen.model, _engine(chosen, backbone), length, Rule(chosen.tau, chosen.steps), prompts, took)


def _engine(chosen: argparse.Namespace, backbone: Backbone) -> Backbone:
    if chosen.engine == "graphs" and backbone.device.type != "cuda":
        raise UserError(f"--engine graphs records CUDA graphs and --device is {backbone.device}: leave --engine out.")
    return KINDS[chosen.engine](**vars(backbone))


def random_backbone(
    name: str,
    dtype: torch.dtype,
    device: torch.device,
    seed: int = 0,
    logits: str | None = None,
    tiny: bool = False,
    pack: bool = True,
) -> Backbone:
    """Random weights of a size in SHAPES, made on the device; logits: by default those of a layout are its own and all
    others aligned. tiny: the parts of a published one, few and small. pack: as Transformer.pack."""
    shape = SHAPES[name]
    if tiny:
        shape = {key: TINY[key] for key in shape}
    rows = shape["rows"]
    config = _config(name, shape)
    with torch.device("meta"):
        transformer = Transformer(config).to(dtype)
    transformer = transformer.to_empty(device=device).eval().requires_grad_(False)
    generator = torch.Generator(device).manual_seed(seed)
    for key, weight in transformer.named_parameters():
        if weight.dim() == 1:
            weight.fill_(0.0 if key.endswith("bias") else 1.0)
        else:
            gain = HEAD_GAIN if key.startswith("ff_out") or (key == "wte.weight" and config.weight_tying) else 1.0
            weight.normal_(0, gain / math.sqrt(weight.shape[-1]), generator=generator)
    default = LAYOUTS[name].logits if name in LAYOUTS else "aligned"
    return Backbone(transformer.pack() if pack else transformer, rows - 1, rows - 2, logits or default)


def _config(name: str, shape: dict[str, int]) -> ModelConfig:
    rows = shape["rows"]
    if name in PUBLISHED and name not in ("llada", "dream"):
        ids = dict.fromkeys(TOKENS[name], rows - 3) | dict(zip(TOKENS[name], (rows - 2, rows - 1), strict=False))
        config = LAYOUTS[name].config(published_config(name, shape, "bfloat16", ids), name)
        return replace(config, max_sequence_length=CONTEXT)
    return ModelConfig(
        d_model=shape["d_model"],
        n_layers=shape["layers"],
        n_heads=shape["heads"],
        n_kv_heads=shape["kv_heads"],
        mlp_hidden_size=shape["mlp"],
        vocab_size=rows,
        embedding_size=rows,
        max_sequence_length=CONTEXT,
        mask_token_id=rows - 1,
        eos_token_id=rows - 2,
        include_qkv_bias=name == "dream",
    )


# How many positions see each other and nothing behind them, of those whose attention ends at blocks.
BLOCKS = {name: size for name in PUBLISHED if (size := _config(name, SHAPES[name]).attention_block)}


def _check_blocks(chosen: argparse.Namespace, backbone: Backbone, width: int) -> None:
    """Raises a UserError where a model that sees blocks is to be measured with what is made for others, or the other
    way round."""
    size = backbone.attention_block
    wrong = [cache for cache in chosen.cache if (made := build_cache(cache)).keeps and made.blocks != bool(size)]
    if wrong:
        good = ("none", "exact") if size else ("none", "prefix", "dual", "freecache")
        raise UserError(f"--cache {wrong[0]} is not made for --model {chosen.model}: choose of {', '.join(good)}.")
    if size and size % width:
        raise UserError(f"--block {width} does not divide the {size} positions that --model {chosen.model} sees.")


def random_prompts(backbone: Backbone, seed: int) -> Callable[[int, int | None], list[tuple[int, ...]]]:
    """Tokens drawn one by one, neither mask nor end of text; of 32 … 96 tokens unless a length is wanted."""

    def prompts(count: int, length: int | None) -> list[tuple[int, ...]]:
        generator = torch.Generator().manual_seed(seed)
        lengths = torch.randint(32, 97, (count,), generator=generator).tolist() if length is None else [length] * count
        return [tuple(torch.randint(backbone.eos_id, (n,), generator=generator).tolist()) for n in lengths]

    return prompts


def checkpoint_prompts(
    checkpoint: Checkpoint, file: str | None = None
) -> Callable[[int, int | None], list[tuple[int, ...]]]:
    """Questions in this checkpoint's tokens, the lab's for testing or a file's; where a length is wanted, so many
    tokens of their running text. file: JSONL with lines {"question": …}."""

    def prompts(count: int, length: int | None) -> list[tuple[int, ...]]:
        if file is None:
            texts = [problem.prompt for problem in LabTask(limit=count).load()]
        else:
            rows = read_file("--file", file, ("question",))[:count]
            texts = [PROMPT.replace("{question}", row.text("question")) for row in rows]
        if len(texts) < count:
            raise UserError(f"--questions {count} is more than the {len(texts)} there are: ask for fewer.")
        encoded = [tuple(checkpoint.tokenizer.encode_prompt(text)) for text in texts]
        if length is None:
            return encoded
        text = [token for prompt in encoded for token in prompt]
        text *= -(-2 * length // len(text))
        return [tuple(text[start : start + length]) for start in (i * 37 % (len(text) - length) for i in range(count))]

    return prompts


def lab_checkpoint(dtype: str) -> Checkpoint:
    node: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(conf_dir() / "backbone" / "lab.yaml"))
    return build("backbone", {**node, "dtype": dtype})


def build_cache(name: str):
    check_choice("--cache", name, options("cache"))
    return build("cache", OmegaConf.load(conf_dir() / "cache" / f"{name}.yaml"))
