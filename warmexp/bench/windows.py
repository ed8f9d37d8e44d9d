"""Measure what caches and sparse attention save as prompts grow, on random weights:

    python -m warmexp.bench.windows
    python -m warmexp.bench.windows --model 100m --prompts 1000,2000,4000,8000 --methods none,dual,dkv,window,sparsed

A method is an option of `cache` or of `attention`, with keys that differ from its file: sparsed:tile=128:share=0.3.
Every one decodes the same questions with the same quota of commits per forward. Random weights say what a method costs;
what they say of its tokens (`same`, the share of tokens that are those of no cache) is pessimistic, since nothing a
random model has computed settles.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from warmexp.bench.clock import interleaved
from warmexp.bench.subject import CONTEXT, SHAPES, random_backbone, random_prompts
from warmexp.config.devices import available_device
from warmexp.config.instantiate import build
from warmexp.config.keys import conf_dir, options
from warmexp.console import Parser, complain, ending, show
from warmexp.decode.canvas import Question
from warmexp.decode.loop import decode
from warmexp.decode.strategy import Strategies
from warmexp.errors import UserError, check_choice, check_range
from warmexp.io import write_json
from warmexp.methods.anchor.none import NoAnchor
from warmexp.methods.cache.none import NoCache
from warmexp.methods.init.mask import MaskInit
from warmexp.methods.length.fixed import FixedLength
from warmexp.methods.remask.none import NoRemask
from warmexp.methods.schedule.blocks import Blocks
from warmexp.methods.unmask.topk import TopK
from warmexp.models.backbone import Backbone

METHODS = "none,dual,freecache,dkv,window,sparsed"


def method(words: str) -> tuple[str, Any]:
    """The group and the object of `sparsed:tile=128`.

    Raises:
        UserError: neither group has that option, or it has no such key.
    """
    name, *keys = words.split(":")
    found = {option: group for group in ("cache", "attention") for option in options(group)}
    check_choice("--methods", name, sorted(found))
    try:
        given = OmegaConf.from_dotlist(keys)
    except ValueError as error:
        raise UserError(f"--methods {words}: keys are written {name}:KEY=VALUE ({error}).") from None
    file = conf_dir() / found[name] / f"{name}.yaml"
    return found[name], build(found[name], OmegaConf.merge(OmegaConf.load(file), given))


def strategies(words: str, canvas: int, block: int, steps: int) -> Strategies:
    """A cold start with a quota of commits, so that all methods take as many forwards where they may commit alike."""
    group, made = method(words)
    cold = Strategies(MaskInit(), TopK(steps), NoRemask(), Blocks(), NoCache(), FixedLength(canvas, block), NoAnchor())
    return replace(cold, **{group: made})


def at(backbone: Backbone, prompt: int, chosen: Any) -> list[dict[str, Any]]:
    """Every method at one length of the prompt."""
    prompts = random_prompts(backbone, chosen.seed)(chosen.questions, prompt)
    questions = [Question(str(i), tokens) for i, tokens in enumerate(prompts)]

    def run(words: str) -> Any:
        return lambda: decode(backbone, questions, strategies(words, chosen.canvas, chosen.block, chosen.steps))

    contenders = {words: run(words) for words in dict.fromkeys(["none", *chosen.methods])}
    done, seconds = interleaved(contenders, chosen.repeats, backbone.device, lambda sentence: None)
    plain = np.array([one.ids for one in done["none"]])
    base = np.median([s.processor for s in seconds["none"]])
    return [
        {
            "prompt": prompt,
            "method": words,
            "nfe": float(np.mean([one.cost.nfe for one in found])),
            "token_forwards": float(np.mean([one.cost.token_forwards for one in found])),
            "seconds": float(np.median([s.wall for s in seconds[words]])) / len(questions),
            "processor": float(np.median([s.processor for s in seconds[words]])) / len(questions),
            "speed": float(base / np.median([s.processor for s in seconds[words]])),
            "same": float((np.array([one.ids for one in found]) == plain).mean()),
        }
        for words, found in done.items()
    ]


def _arguments(words: list[str]) -> Any:
    parser = Parser(prog="python -m warmexp.bench.windows", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--model", default="tiny", help=f"a size: {', '.join(SHAPES)}")
    parser.add_argument("--prompts", default="1000,2000,4000,8000", help="tokens, several with commas")
    parser.add_argument("--methods", default=METHODS)
    for name, default in (("canvas", 64), ("block", 32), ("steps", 8), ("questions", 1), ("repeats", 1), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args(words)
    check_choice("--model", chosen.model, SHAPES)
    try:
        chosen.prompts = [int(one) for one in chosen.prompts.split(",")]
    except ValueError:
        raise UserError(f"--prompts {chosen.prompts} is not a list of numbers such as 1000,2000.") from None
    for name in ("canvas", "block", "steps", "questions", "repeats"):
        check_range(f"--{name}", getattr(chosen, name), 1, 10**6, "a whole number")
    for prompt in chosen.prompts:
        check_range("--prompts", prompt, 1, CONTEXT - chosen.canvas, "tokens that leave room for the canvas")
    chosen.methods = chosen.methods.split(",")
    for one in chosen.methods:
        method(one)
    return chosen


def main(words: list[str] | None = None) -> int:
    chosen = _arguments(sys.argv[1:] if words is None else words)
    backbone = random_backbone(chosen.model, torch.float32, torch.device(available_device(chosen.device)), chosen.seed)
    file = (chosen.out or Path("outputs") / time.strftime("windows-%Y-%m-%d_%H-%M-%S")) / "windows.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    show(f"{'prompt':>7s}  {'method':28s} {'NFE':>6s} {'token-forwards':>15s} {'CPU s':>8s} {'speed':>6s} {'same':>6s}")
    for prompt in chosen.prompts:
        complain(f"prompts of {prompt} tokens …")
        for row in at(backbone, prompt, chosen):
            rows.append(row)
            show(
                f"{row['prompt']:7d}  {row['method']:28s} {row['nfe']:6.1f} {row['token_forwards']:15.0f}"
                f" {row['processor']:8.2f} {row['speed']:5.2f}x {100 * row['same']:5.1f}%"
            )
        write_json(file, rows)
    show(file)
    return 0


if __name__ == "__main__":
    with ending():
        sys.exit(main())
