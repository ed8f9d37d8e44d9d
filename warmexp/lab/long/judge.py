"""What training measures of itself, on problems that it never sees."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from warmexp.lab import evaluate
from warmexp.lab.long import problems
from warmexp.lab.long.data import Texts, filled, texts
from warmexp.lab.tokenizers import PROMPT
from warmexp.lab.train_backbone import BackboneRecipe, causal
from warmexp.models.transformer import Transformer


def results(tokenizer: PreTrainedTokenizerFast, response: list[int]) -> list[list[int]]:
    """Positions of each step's result in a response: the digits after `=` or `to get`."""
    equals, to_get = (tokenizer(word)["input_ids"] for word in (" =", " to get"))
    digits = _digits(tokenizer)
    found: list[list[int]] = []
    for k, token in enumerate(response):
        if token == equals[0] or response[k - 1 : k + 1] == to_get:
            found.append([])
            while k + 1 < len(response) and response[k + 1] in digits:
                k += 1
                found[-1].append(k)
    return [f for f in found if f]


@lru_cache(maxsize=4)
def _digits(tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    return frozenset(ids[0] for n in range(10) for ids in tokenizer([f"{n}", f" {n}"])["input_ids"])


@lru_cache(maxsize=4)
def _held_out(tokenizer: PreTrainedTokenizerFast, level: str, rows: int) -> Texts:
    return texts(tokenizer, problems.LEVELS[level], 0, rows, split="calibration")


def _operation(text: str) -> str:
    """Of the last line's sum, whose result follows."""
    words = text.split("\n")[-1].split()
    return next(
        (w for w in reversed(words) if w in "+-x/"),
        {"Add": "+", "Take": "-", "Multiply": "x", "Divide": "/"}.get(words[0], "?"),
    )


@torch.no_grad()
def numbers_right(net: Transformer, tokenizer: PreTrainedTokenizerFast, level: str, rows: int) -> dict[str, float]:
    """Share of results with all digits right given the true text before them, causal attention; of all, by number of
    steps, and by operation; and the share of problems with all of them right."""
    held = _held_out(tokenizer, level, rows)
    by_steps: dict[int, list[bool]] = {}
    by_op: dict[str, list[bool]] = {}
    whole = []
    order = sorted(range(rows), key=lambda k: len(held.prompt[k]) + len(held.response[k]))
    for start in range(0, rows, 16):
        chosen = order[start : start + 16]
        full = [held.prompt[k] + held.response[k] for k in chosen]
        ids = torch.from_numpy(filled(full, max(map(len, full)), tokenizer.eos_token_id)).to(net.wte.weight.device)
        guess = net.head(net(net.embed(ids), causal(ids.shape[1], ids.device))).argmax(-1)
        for row, k in enumerate(chosen):
            first, found = len(held.prompt[k]), results(tokenizer, held.response[k])
            right = [all(guess[row, first + p - 1] == ids[row, first + p] for p in place) for place in found]
            by_steps.setdefault(len(found), []).extend(right)
            for place, good in zip(found, right, strict=True):
                by_op.setdefault(_operation(tokenizer.decode(held.response[k][: place[0]])), []).append(good)
            whole.append(all(right))
    every = [v for right in by_steps.values() for v in right]
    shares = {f"right_{n}": round(float(np.mean(v)), 3) for n, v in [*sorted(by_steps.items()), *sorted(by_op.items())]}
    return {"right": round(float(np.mean(every)), 4), "whole": round(float(np.mean(whole)), 3), **shares}


def decoded(
    net: Transformer, tokenizer: PreTrainedTokenizerFast, level: str, rows: int, shape: BackboneRecipe
) -> dict[str, float]:
    """Strict accuracy, mean forwards and mean response length of cold starts at tau = 0.9."""
    chosen = [problems.make("calibration", k, level=problems.LEVELS[level]) for k in range(rows)]
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
