"""Exact keys and values of finished blocks, for backbones that see nothing behind a block (SDAR, arXiv 2510.06303;
LLaDA2, 2512.15745; Fast-dLLM v2, 2509.26328)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from warmexp.decode.columns import Column
from warmexp.decode.edit import Edit
from warmexp.decode.reading import Reading
from warmexp.decode.strategy import Cache
from warmexp.decode.view import Span, View
from warmexp.errors import check_choice

COMMITS = ("separate", "fused")
FIRST = ("commit", "window")


@dataclass
class ExactCache(Cache):
    """A question's first forward computes the prompt and the first block; after it a block is computed alone, beside
    the keys and values of what stands before it. Those of a block are kept once its tokens are final, so nothing is
    approximated: tokens are those of cache=none.

    commit: how they are made final. `separate`, as published: one forward more for every block that another follows,
        over its final tokens (in the ledger of kind "commit"; it counts in NFE). `fused`: the first forward of the next
        block computes the finished one too, and there is no forward more.
    first_token: with commit=separate, how shifted backbones (Fast-dLLM v2) read a block's first token, which the last
        hidden state of the block before predicts. `commit`, as published: the commit forward reads it and commits it,
        whatever its confidence is; where the prompt ends with a block, that is a forward over the prompt alone.
        `window`: the others compute one position more, on the left, and every forward may commit everywhere, as with
        cache=none.
    """

    commit: str = "separate"
    first_token: str = "commit"
    keeps = True
    blocks = True
    # How many positions of the row, prompt first, have keys and values that stay; -1: nothing is kept.
    columns = {"settled": Column("row", "int64", -1)}

    def __post_init__(self) -> None:
        check_choice("cache.commit", self.commit, COMMITS)
        check_choice("cache.first_token", self.first_token, FIRST)

    def plan(self, view: View) -> Span:
        settled, block, end = view.recall("settled"), view.seen_from, view.seen_until
        behind = (settled >= 0) & (settled < block)  # a finished block waits for its keys and values
        # A shifted backbone reads the first position of its block from the one before it.
        before, reads = np.full_like(block, view.shift), np.zeros_like(behind)
        if self.commit == "separate" and self.first_token == "commit":
            lead = np.arange(len(block)), view.lead
            open_ = view.masked | view.revocable
            alone = open_[lead] & (open_.sum(1) == 1)  # nothing else of the block can be changed: it is read wherever
            reads = (view.first + view.lead == block) & (view.masked[lead] | alone) & (view.shift > 0)
            before = reads.astype(np.int64)
            # A prompt that ends with a block: what is read first is the one token that it predicts.
            behind |= (settled < 0) & (block > 0) & reads & view.masked[lead]
        start = np.where(settled < 0, 0, np.where(behind, settled, block - before)).clip(0)
        if self.commit == "fused":
            return Span.of(start, end, len(block))
        return Span(start, np.where(behind, block, end), np.zeros_like(behind), behind & ~reads)

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        return {"settled": view.seen_from}
