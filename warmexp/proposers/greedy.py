"""Plain greedy generation with a `transformers` causal language model, from token ids to token ids and
log-probabilities.

A checkpoint's `generation_config.json` says how its makers like to sample: penalties, forbidden tokens, least lengths,
a limit of seconds, several answers at once. None of that is asked here. From its files come the ids that end a text,
and everything else is set by us.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

from warmexp.errors import UserError
from warmexp.models.hub import read_json

T = TypeVar("T")


class Written(NamedTuple):
    """ids: [n] tokens of a response; logp: [n] natural-log probability of each. Both go on behind its end, with
    padding. likely: [n] the likeliest tokens in each place, with theirs; empty where nobody asked."""

    ids: list[int]
    logp: list[float]
    likely: Sequence[Sequence[tuple[int, float]]] = ()


def end_ids(key: str, folder: Path, vocabulary: int) -> tuple[int, ...]:
    """Ids that end a text: generation_config.json's `eos_token_id`, or config.json's where that has none.

    Raises:
        UserError: it is no id, nor a list of ids, of the vocabulary.
    """
    for file in (folder / "generation_config.json", folder / "config.json"):
        found = read_json(key, file).get("eos_token_id") if file.is_file() else None
        if found is not None:
            ids = found if isinstance(found, list) else [found]
            bad = [i for i in ids if isinstance(i, bool) or not isinstance(i, int) or not 0 <= i < vocabulary]
            if bad:
                raise UserError(
                    f"{key}: {file.name} has eos_token_id={found}, and {bad[0]} is no id of its {vocabulary} tokens:"
                    " correct it."
                )
            return tuple(sorted(set(ids)))
    return ()


def batched(items: Sequence[tuple[T, int]], most: int, size: int, together: bool) -> list[list[T]]:
    """Items (what, room) in the given order, in batches of at most `size` whose rows may all write the same number of
    tokens.

    A row's room is its own. Rows with less than `most` tokens of it, near the end of the model's context, have the same
    room only if their prompts are as long; together: put rows beside others of another length at all.
    """
    batches = []
    for _, group in groupby(items, key=lambda item: min(most, item[1]) if together else item[1]):
        rows = [what for what, _ in group]
        batches += [rows[i : i + size] for i in range(0, len(rows), size)]
    return batches


def may_pad(model: Any) -> bool:
    """Whether rows of different lengths can be read together without a change in what is written.

    Not where positions are counted from the padded beginning, nor where rotary frequencies follow the longest row of a
    batch.
    """
    rope = getattr(model.config, "rope_parameters", None) or {}
    kinds = {part.get("rope_type") for part in (rope, *rope.values()) if isinstance(part, dict)}
    return not kinds & {"longrope", "dynamic"} and "position_ids" in inspect.signature(model.forward).parameters


@torch.inference_mode()
def write(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    most: int,
    ends: Sequence[int],
    stop: Sequence[str],
    likely: int = 0,
) -> list[Written]:
    """argmax tokens for a batch of prompts, at most `most` each.

    Args:
        prompts: ids, padded on the left. ends: ids that end a row. stop: strings that end a row. likely: how
            many of the likeliest tokens to keep in each place.
    """
    from transformers import GenerationConfig, LogitsProcessorList

    width = max(map(len, prompts))
    pad = ends[0] if tokenizer.pad_token_id is None and ends else tokenizer.pad_token_id or 0
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in prompts], device=model.device)
    kept = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts], device=model.device)
    recorder = _LogProbabilities(likely)
    config = GenerationConfig(
        max_new_tokens=most,
        do_sample=False,
        num_beams=1,
        eos_token_id=list(ends) or None,
        pad_token_id=pad,
        stop_strings=list(stop) or None,
    )
    output = model.generate(
        input_ids=ids,
        attention_mask=kept,
        generation_config=config,
        logits_processor=LogitsProcessorList([recorder]),
        **({"tokenizer": tokenizer} if stop else {}),
    )
    new = output[:, width:].tolist()
    logp = torch.stack(recorder.steps, dim=1).tolist()
    if not likely:
        return [Written(row, p) for row, p in zip(new, logp, strict=True)]
    values, tokens = (torch.stack(one, dim=1).tolist() for one in zip(*recorder.likely, strict=True))
    return [
        Written(row, p, [list(zip(t, v, strict=True)) for t, v in zip(ts, vs, strict=True)])
        for row, p, ts, vs in zip(new, logp, tokens, values, strict=True)
    ]


class _LogProbabilities:
    """A logits processor that changes nothing and keeps the greedy token's log-probability: one float per token instead
    of the [batch, vocabulary] scores per step that `output_scores` would keep; and the likeliest tokens, if wanted."""

    def __init__(self, likely: int) -> None:
        self.steps: list[torch.Tensor] = []
        self.likely: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.count = likely

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        logp = scores.float().log_softmax(-1)
        self.steps.append(logp.amax(-1))
        if self.count:
            self.likely.append(tuple(logp.topk(min(self.count, logp.shape[-1]), dim=-1)))
        return scores
