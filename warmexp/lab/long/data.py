"""Training texts of the long lab as arrays, a fresh pool of problems every so many steps, the same ones whenever a step
is repeated."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count, islice
from types import ModuleType

import numpy as np
from transformers import PreTrainedTokenizerFast

from warmexp.errors import UserError
from warmexp.lab.tokenizers import PROMPT

BUCKET = 8  # texts whose lengths fall into the same multiple of so many tokens are trained on together


@dataclass(frozen=True)
class Texts:
    """Tokenised problems. prompt, response, slipped: ids per problem; a response ends with end-of-text; slipped may be
    empty."""

    prompt: list[list[int]]
    response: list[list[int]]
    slipped: list[list[int]]

    def __len__(self) -> int:
        return len(self.prompt)


def texts(
    tokenizer: PreTrainedTokenizerFast,
    problems: ModuleType,
    name: str,
    start: int,
    size: int,
    shares: tuple[float, ...],
    split: str = "train",
    slips: bool = False,
) -> Texts:
    """`size` problems of the generator's level `name` from index `start` of the split on, without the questions held
    out if it is the training split.

    Raises:
        UserError: the training split has not so many.
    """
    level = problems.LEVELS[name]
    every = ((k, problems.make(split, k, shares, level)) for k in count(start))
    found = list(islice(problems.stream(start, shares, level) if split == "train" else every, size))
    if len(found) < size:
        raise UserError(
            f"{problems.__name__} has {len(found)} training problems from index {start} on that are neither in"
            f" calibration nor test, and the recipe wants {size}: enlarge SPLITS['train'] or vary the questions more."
        )
    end = [tokenizer.eos_token_id]
    return Texts(
        tokenizer([PROMPT.format(question=p.question) for _, p in found])["input_ids"],
        [ids + end for ids in tokenizer([" " + p.solution for _, p in found])["input_ids"]],
        [
            ids + end
            for ids in tokenizer([" " + problems.slipped(split, k, shares, level) for k, _ in found])["input_ids"]
        ]
        if slips
        else [],
    )


def grouped(lengths: list[int], bucket: int = 1) -> tuple[list[np.ndarray], np.ndarray]:
    """Indices by length (rounded up to a multiple of `bucket`), and the share of each group."""
    rounded = -(-np.array(lengths) // bucket)
    groups = [np.flatnonzero(rounded == k) for k in np.unique(rounded)]
    return groups, np.array([len(g) for g in groups]) / len(lengths)


def filled(rows: list[list[int]], size: int, end: int) -> np.ndarray:
    """[B, size] ids, cut or filled up with end-of-text."""
    return np.array([(row + [end] * size)[:size] for row in rows], dtype=np.int64)


class Pool:
    """Batches of one pool of texts."""

    def __init__(self, found: Texts, end: int):
        self.texts, self.end = found, end
        self.by_text = grouped([len(p) + len(r) for p, r in zip(found.prompt, found.response, strict=True)], BUCKET)
        self.by_prompt = grouped([len(p) for p in found.prompt], BUCKET)

    def _rows(self, groups: tuple[list[np.ndarray], np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray:
        members, share = groups
        return rng.choice(members[rng.choice(len(members), p=share)], size)

    def whole(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Prompts with their responses of about equal length: ids [B, T] filled up, and where the response is [B,
        T]."""
        t = self.texts
        rows = self._rows(self.by_text, size, rng)
        ids = [t.prompt[k] + t.response[k] for k in rows]
        full = filled(ids, max(map(len, ids)), self.end)
        position = np.arange(full.shape[1])
        first, last = (np.array(v)[:, None] for v in ([len(t.prompt[k]) for k in rows], [len(row) for row in ids]))
        return full, (position >= first) & (position < last)

    def canvases(
        self, size: int, canvas: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Prompts of about equal length [B, P], how many positions at their left are filling [B], clean and slipped
        canvases [B, canvas], response lengths [B], which may exceed it."""
        t = self.texts
        rows = self._rows(self.by_prompt, size, rng)
        clean, slipped = (filled([source[k] for k in rows], canvas, self.end) for source in (t.response, t.slipped))
        length = np.array([len(t.prompt[k]) for k in rows])
        prompt = np.array([[self.end] * (length.max() - len(t.prompt[k])) + t.prompt[k] for k in rows])
        return prompt, length.max() - length, clean, slipped, np.array([len(t.response[k]) for k in rows])
