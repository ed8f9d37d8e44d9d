"""What training measures of itself, on problems that it never sees."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import accumulate
from types import ModuleType

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from warmexp.lab import evaluate
from warmexp.lab.long.data import Texts, filled, texts
from warmexp.lab.long.feed import Schedule, Stage
from warmexp.lab.splits import Problem
from warmexp.lab.tokenizers import PROMPT
from warmexp.lab.train_backbone import BackboneRecipe, causal
from warmexp.models.transformer import Transformer

ANSWER = re.compile(r"#### (.+)")


def places(tokenizer: PreTrainedTokenizerFast, response: list[int], pattern: re.Pattern[str]) -> list[list[int]]:
    """Positions in a response of each group of each match; a token counts that has part of it."""
    pieces = _pieces(tokenizer)
    ends = list(accumulate(len(pieces[token]) for token in response))
    found = []
    for match in pattern.finditer("".join(pieces[token] for token in response)):
        for low, high in match.regs[1:]:
            found.append([k for k, end in enumerate(ends) if end > low and end - len(pieces[response[k]]) < high])
    return [f for f in found if f]


@lru_cache(maxsize=4)
def _pieces(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    return [tokenizer.decode([k]) for k in range(len(tokenizer))]


@lru_cache(maxsize=4)
def _held_out(
    tokenizer: PreTrainedTokenizerFast, problems: ModuleType, level: str, rows: int, shares: tuple[float, ...]
) -> Texts:
    return texts(tokenizer, problems, level, 0, rows, shares, split="calibration")


@torch.no_grad()
def numbers_right(
    net: Transformer, tokenizer: PreTrainedTokenizerFast, r: Schedule, stage: Stage, rows: int
) -> dict[str, float]:
    """Share of results with all tokens right given the true text before them, causal attention; of all, by number of
    results, and by operation where the generator tells it; the share of problems with all of them right; and `chosen`,
    the share of what they are computed from, of all and by kind of problem, where the generator finds and tells it.

    Results are what the generator's COMPUTED finds, the final answer where it has none; what they are computed from is
    what its CHOSEN finds.
    """
    problems = r.generator
    computed, operation = getattr(problems, "COMPUTED", ANSWER), getattr(problems, "operation", None)
    chosen_from, kind = getattr(problems, "CHOSEN", None), getattr(problems, "kind", None)
    held = _held_out(tokenizer, problems, stage.level, rows, r.shares)
    by_steps: dict[int, list[bool]] = {}
    by_op: dict[str, list[bool]] = {}
    by_kind: dict[str, list[bool]] = {}
    looked_up: list[bool] = []
    whole = []
    order = sorted(range(rows), key=lambda k: len(held.prompt[k]) + len(held.response[k]))
    for start in range(0, rows, 16):
        chosen = order[start : start + 16]
        full = [held.prompt[k] + held.response[k] for k in chosen]
        ids = torch.from_numpy(filled(full, max(map(len, full)), tokenizer.eos_token_id)).to(net.wte.weight.device)
        guess = net.head(net(net.embed(ids), causal(ids.shape[1], ids.device))).argmax(-1)
        for row, k in enumerate(chosen):
            first, found = len(held.prompt[k]), places(tokenizer, held.response[k], computed)
            same = (guess[row, first - 1 : -1] == ids[row, first:]).tolist()
            right = [all(same[p] for p in place) for place in found]
            by_steps.setdefault(len(found), []).extend(right)
            for place, good in zip(found, right, strict=True) if operation else ():
                by_op.setdefault(operation(tokenizer.decode(held.response[k][: place[0]])), []).append(good)
            whole.append(all(right))
            if chosen_from:
                right = [all(same[p] for p in place) for place in places(tokenizer, held.response[k], chosen_from)]
                looked_up += right
                if kind and right:
                    by_kind.setdefault(kind("calibration", k, problems.LEVELS[stage.level]), []).extend(right)
    every = [v for right in by_steps.values() for v in right]
    shares = {f"right_{n}": round(float(np.mean(v)), 3) for n, v in [*sorted(by_steps.items()), *sorted(by_op.items())]}
    measured = {"right": round(float(np.mean(every)), 4), "whole": round(float(np.mean(whole)), 3), **shares}
    if looked_up:
        measured["chosen"] = round(float(np.mean(looked_up)), 4)
    return measured | {f"chosen_{n}": round(float(np.mean(v)), 3) for n, v in sorted(by_kind.items())}


def questions(r: Schedule, stage: Stage, rows: int) -> list[Problem]:
    """The calibration questions that a stage is judged on."""
    level = r.generator.LEVELS[stage.level]
    return [r.generator.make("calibration", k, r.shares, level) for k in range(rows)]


def decoded(
    net: Transformer,
    tokenizer: PreTrainedTokenizerFast,
    r: Schedule,
    stage: Stage,
    rows: int,
    shape: BackboneRecipe,
) -> dict[str, float]:
    """Strict accuracy, mean forwards and mean response length of cold starts at tau = 0.9."""
    chosen = questions(r, stage, rows)
    prompts = tokenizer([PROMPT.format(question=p.question) for p in chosen])["input_ids"]
    out, forwards = evaluate.decode_all(net, prompts, shape.canvas, 0.9, shape.block_length)
    answers = [evaluate.strict_answer(text) for text in tokenizer.batch_decode(out, skip_special_tokens=True)]
    right = [answer == p.answer for answer, p in zip(answers, chosen, strict=True)]
    length = np.mean([sum(token != tokenizer.eos_token_id for token in row) for row in out])
    return {
        "strict": round(float(np.mean(right)), 3),
        "forwards": round(float(np.mean(forwards)), 1),
        "written": round(float(length), 1),
    }
