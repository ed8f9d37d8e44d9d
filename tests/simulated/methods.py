"""Every method that a configuration group lists, decoded by a small random backbone on a CPU or a simulated GPU."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import pytest
import torch

from tests.beside import BESIDE, ELSEWHERE, FEWER
from tests.reference.models import random_models
from warmexp.api import composed
from warmexp.check_method.problems import Letters
from warmexp.config.instantiate import parts
from warmexp.config.keys import options
from warmexp.decode.batch import Decoded
from warmexp.decode.canvas import Question
from warmexp.decode.loop import stream
from warmexp.decode.meter import Meter
from warmexp.decode.strategy import BASES, LISTS, Strategies
from warmexp.models.backbone import Backbone

INJECT = "init=token_inject"
# What takes another way through the loop than a group's option with its defaults.
VARIANTS = {
    "sampled": [INJECT, "unmask.temperature=0.7"],
    "sampled quota": ["unmask=topk", "unmask.temperature=1.5"],
    "sampled bonus": [INJECT, "evidence=[bonus]", "unmask.temperature=0.7", "evidence.bonus.wins=most"],
    "prior while masked": ["init=embed_interp", "init.duration=masked", "init.norm=match"],
    "prior that fades": ["init=embed_interp", "init.duration=fade", "init.by_entropy=true"],
    "prior that fades, dual": ["init=embed_interp", "init.duration=fade", "cache=dual"],
    "verified by halves": ["init=verified", "init.score=halves", "init.theta=0.1", "init.weight=0"],
    "verified by shadows": ["init=verified", "init.score=shadow", "init.keep_rule=each", "init.theta=0.1"],
    "shadows": [INJECT, "remask=budget", "remask.score=shadow", "remask.scope=all"],
    "all in doubt": [INJECT, "remask=linear", "remask.scope=all", "remask.slope=0.3", "length=eos_stop"],
    "dual, often": [INJECT, "cache=dual", "cache.refresh=2", "cache.first_token=window", "remask=linear"],
    "prefix, revoked": [INJECT, "cache=prefix", "cache.refresh=revocation", "remask=budget", "remask.scope=all"],
    "freecache, as released": [INJECT, "cache=freecache", "cache.settle=false"],
    "anchored": ["init=verified", "anchor=edit", "anchor.within=0.8", "init.theta=0.1", "init.weight=0"],
    "anchored, dual": [INJECT, "anchor=edit", "anchor.within=0.8", "cache=dual"],
    "guided draws": ["evidence=[apd]", "guide=self", "unmask=accepted", "unmask.temperature=0.7"],
    "guided, dual": [INJECT, "evidence=[flashdlm]", "guide=self", "unmask=accepted", "cache=dual"],
    "whole canvas": ["length.block_length=${length.canvas_length}"],
}


def methods() -> dict[str, list[str]]:
    """Words of a command line, by name: every option of every group that makes a method, and the variants."""
    named = {f"{g}=[{o}]" if g in LISTS else f"{g}={o}": f"{g}={o}" for g in BASES for o in options(g)}
    found = {
        word: [word, *BESIDE.get(name, []), *FEWER.get(name.split("=")[1], [])]
        for word, name in named.items()
        if name not in ELSEWHERE
    }
    found["init=scaffold"] += ["init.template='{work}#{answer:3}'"]  # on a canvas of ten
    return {
        name: words if words[0].startswith("init=") else [INJECT, *words] for name, words in found.items()
    } | VARIANTS


@cache
def strategies(words: tuple[str, ...], canvas: int = 10, block: int = 5) -> Strategies:
    cfg, _ = composed([f"length.canvas_length={canvas}", f"length.block_length={block}", *words])
    made = Strategies(**parts(cfg, BASES))
    for one in made:
        one.bind(Letters(mask=19), canvas)
    return made


def backbone(device: str = "cpu", shifted: bool = False, dtype: torch.dtype = torch.float64, **model: Any) -> Backbone:
    """Random weights; the mask is token 19, the end token 0."""
    transformer = random_models(**{"seed": 1, "vocab_size": 20, "n_layers": 2} | model)[0]
    transformer = copy.deepcopy(transformer).to(dtype).to(device)
    return Backbone(transformer, mask_id=19, eos_id=0, logits="shifted" if shifted else "aligned")


@cache
def questions(canvas: int = 10, count: int = 3, shifted: bool = False) -> tuple[Question, ...]:
    """Prompts of several lengths, proposals that are the backbone's own answers, some spoilt or a slot too late."""
    content = Random(0)
    prompts = [tuple(content.randrange(19) for _ in range(1 + 2 * i)) for i in range(count)]
    cold = [Question(f"q{i}", prompt) for i, prompt in enumerate(prompts)]
    answers = {
        done.id: done.ids for done in decoded(["init=mask"], cold, canvas=canvas, block=canvas // 2, shifted=shifted)
    }
    made = []
    for i, question in enumerate(cold):
        own = [*answers[question.id]] if i % 2 else [7, *answers[question.id][:-1]]
        proposal = tuple(content.randrange(19) if content.random() < 0.1 * i else token for token in own)
        trust = tuple(content.random() for _ in proposal)
        numeric = tuple(token % 3 == 0 for token in proposal)
        made.append(Question(question.id, question.prompt, proposal, trust, len(proposal), numeric))
    return tuple(made)


def decoded(
    words: list[str],
    asked: list[Question] | tuple[Question, ...],
    device: str = "cpu",
    canvas: int = 10,
    block: int = 5,
    batch: int = 2,
    meter: Callable[[Backbone], Meter] = Meter,
    **model: Any,
) -> list[Decoded]:
    """What the loop makes of the questions, by their ids."""
    made = backbone(device, **model)
    chosen = strategies(tuple(words), canvas, block)
    done = stream(made, iter(asked), chosen, 0, meter(made), batch)
    return sorted(done, key=lambda one: one.id)


METHODS = methods()
# Methods in which shifted logits take a way of their own.
_SHIFTED = ("cache", "dual", "prefix", "shadows", "verified")
RUNS = [(name, False) for name in METHODS] + [(n, True) for n in METHODS if any(word in n for word in _SHIFTED)]
# Rules of unmasking and revision differ in arithmetic that all devices share: every second of them is slow.
_ALIKE = [run for run in RUNS if run[0].startswith(("unmask=", "remask="))]
runs = pytest.mark.parametrize(
    ("method", "shifted"),
    [pytest.param(*run, marks=pytest.mark.slow if run in _ALIKE[::2] else ()) for run in RUNS],
    ids=[f"{n}{', shifted' if s else ''}" for n, s in RUNS],
)
