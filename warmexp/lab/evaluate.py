"""A small threshold decoder for the recipe's own measurements, so that training depends on nothing but the transformer.

The project's decoder (`warmexp.decode`) is the one to use for results; this one only has to agree on greedy cold
starts.
"""

from __future__ import annotations

import re
from collections import defaultdict

import torch
from torch import Tensor

from warmexp.models.transformer import Transformer

STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")  # lm-evaluation-harness, gsm8k, filter strict-match


def strict_answer(text: str) -> str | None:
    found = STRICT.search(text)
    return found.group(1) if found else None


def in_blocks(length: int, size: int, device: torch.device) -> Tensor | None:
    """Who sees whom where attention ends at blocks of `size` positions; None for 0, where everybody sees everything."""
    block = torch.arange(length, device=device) // size if size else None
    return None if block is None else block[None, :] <= block[:, None]


@torch.no_grad()
def decode(net: Transformer, prompts: Tensor, canvas: Tensor, tau: float, block_length: int) -> tuple[Tensor, Tensor]:
    """Semi-autoregressive threshold decoding (Fast-dLLM), greedy, logits shifted by one.

    Args:
        prompts: [B, P] of equal length. canvas: [B, L], mask where still open.
    Returns:
        the finished canvas and the number of forwards per row [B].
    """
    mask_id, start, size = net.config.mask_token_id, prompts.shape[1], net.config.attention_block
    block_length, first = size or block_length, -(start % size) if size else 0  # blocks end where attention does
    sees = in_blocks(start + canvas.shape[1], size, canvas.device)
    canvas, forwards = canvas.clone(), torch.zeros(len(canvas), dtype=torch.long, device=canvas.device)
    for begin in range(first, canvas.shape[1], block_length):
        begin, end = max(begin, 0), begin + block_length
        block = slice(begin, end)
        while (rows := (canvas[:, block] == mask_id).any(1).nonzero()[:, 0]).numel():
            ids = torch.cat((prompts[rows], canvas[rows]), 1)
            hidden = net(net.embed(ids), sees)[:, start - 1 + begin : min(start - 1 + end, ids.shape[1] - 1)]
            logits = net.head(hidden).float()
            logits[..., mask_id] = -torch.inf
            confidence, token = logits.softmax(-1).max(-1)
            open_ = canvas[rows, block] == mask_id
            confidence = confidence.masked_fill(~open_, -1.0)
            commit = open_ & (confidence >= tau)
            commit.scatter_(1, confidence.argmax(1, keepdim=True), True)
            canvas[rows, block] = torch.where(commit, token, canvas[rows, block])
            forwards[rows] += 1
    return canvas, forwards


def decode_all(
    net: Transformer,
    prompts: list[list[int]],
    gen_length: int,
    tau: float,
    block_length: int,
    start: list[list[int]] | None = None,
) -> tuple[list[list[int]], list[int]]:
    """Decode prompts of any lengths, grouped by length. `start` holds each row's first canvas (all mask by default)."""
    device = net.wte.weight.device
    groups = defaultdict(list)
    for k, prompt in enumerate(prompts):
        groups[len(prompt)].append(k)
    out: list[list[int]] = [[] for _ in prompts]
    nfe = [0] * len(prompts)
    for members in groups.values():
        ids = torch.tensor([prompts[k] for k in members], device=device)
        if start is None:
            canvas = torch.full((len(members), gen_length), net.config.mask_token_id, device=device)
        else:
            canvas = torch.tensor([start[k] for k in members], device=device)
        done, forwards = decode(net, ids, canvas, tau, block_length)
        for k, row, n in zip(members, done.tolist(), forwards.tolist(), strict=True):
            out[k], nfe[k] = row, n
    return out, nfe
