"""Fast-dLLM (arXiv 2505.22618) as published, written down as plainly as possible: what the decode loop is measured
against.

One question at a time. Logits of every position that a forward computes, a float64 softmax over all of them, one look
per position of the block. With cache=prefix or dual, the first forward of a block runs on the whole sequence and its
keys (not yet rotated) and values are kept: the block's other forwards run on the block and what follows it (prefix) or
on the block alone (dual), against the kept ones. Where the hidden state at i-1 predicts token i (Dream), that first
forward commits the block's first token and nothing else, because the state before the block is outside the window of
the others.

What differs from the released code, each time in its favour or in neither's: a backbone never commits its own mask
token, a block that is full after its first forward gets no second one, ties go to the lowest position and token, the
threshold is compared for all positions at once, and nothing is copied or awaited that the algorithm has no use for.
Uncached shifted backbones are decoded block by block too. The released code (commit 24cc59e, LLaDA, with these rules
and rotary tables in float64) gives the same tokens: on small random backbones 162 of 162 canvases with its three ways
of caching, thresholds and quotas.

This shares nothing with the decode loop, its caches or its meter, only the weights: the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from warmexp.models.backbone import Backbone
from warmexp.models.plain import KeysValues, PlainForward

CACHES = ("none", "prefix", "dual")


@dataclass(frozen=True)
class Rule:
    """Which masked positions a forward commits: every one with confidence ≥ τ and the best one, or a quota.

    steps: commit the ⌈m / (s - k)⌉ best of m masked positions in a block's k-th forward of s (LLaDA, arXiv 2502.09992),
    whatever τ is. Random weights are never sure of anything; this makes them do as many forwards as trained ones would.
    """

    tau: float = 0.9
    steps: int | None = None

    def chosen(self, confidence: Tensor, k: int) -> Tensor:
        """[T] float64, minus infinity where nothing may be committed -> [T] bool, at least one of them True."""
        if self.steps is None:
            chosen = confidence >= self.tau
            chosen[confidence.argmax()] = True
            return chosen
        masked = int((confidence > -torch.inf).sum())
        quota = -(-masked // max(1, self.steps - k))
        chosen = torch.zeros_like(confidence, dtype=torch.bool)
        chosen[confidence.argsort(descending=True, stable=True)[:quota]] = True
        return chosen


@dataclass
class Answer:
    """A finished canvas of L positions. seen, if asked for: per forward, what every eligible response position looked
    like (confidence, and by how much the best token's logit leads the second best's)."""

    ids: list[int]
    commit_iteration: list[int]
    nfe: int = 0
    seen: list[dict[int, tuple[float, float]]] = field(default_factory=list)


@torch.inference_mode()
def plain_decode(
    backbone: Backbone,
    prompt: Sequence[int],
    canvas: int,
    block: int,
    rule: Rule,
    cache: str = "none",
    trace: bool = False,
) -> Answer:
    """Decode `canvas` masks after a prompt, `block` at a time (a divisor of `canvas`), counted from the prompt's first
    position where the backbone sees blocks."""
    if cache not in CACHES:
        raise ValueError(f"cache={cache} is not one of {', '.join(CACHES)}")
    mask, first = backbone.mask_id, len(prompt)
    x = torch.tensor([*prompt, *[mask] * canvas], device=backbone.device)
    network = PlainForward(backbone.transformer, len(x))
    answer = Answer([], [-1] * canvas)
    ahead = first % block if backbone.attention_block else 0
    for begin in range(first - ahead, len(x), block):
        start, end = max(begin, first), min(begin + block, len(x))
        kept: KeysValues | None = None
        k = 0
        while bool((x[start:end] == mask).any()):
            left, right, until = 0, len(x), end
            keep: KeysValues | None = None
            if cache != "none" and kept is None:
                keep = []
                until = start + 1 if backbone.logits == "shifted" else end
            elif kept is not None:
                left, right = start, end if cache == "dual" else len(x)
            logits = network.logits(backbone.embed(x[left:right]), left, kept, keep)
            if backbone.logits == "shifted":
                logits = torch.cat(
                    (logits[:1], logits[:-1])
                )  # row i for token left + i; the window's first row repeats itself
            if keep is not None:
                kept = [(keys[:, :start], values[:, :start]) for keys, values in keep] if cache == "prefix" else keep
            backbone.rule_out(logits)
            token = logits.argmax(-1)
            confidence = logits.to(torch.float64).softmax(-1).gather(1, token[:, None])[:, 0]
            position = torch.arange(left, right, device=x.device)
            eligible = (x[left:right] == mask) & (position >= start) & (position < until)
            chosen = rule.chosen(torch.where(eligible, confidence, -torch.inf), k)
            if trace:
                where = (position[eligible] - first).tolist()
                answer.seen.append(
                    dict(
                        zip(
                            where, zip(confidence[eligible].tolist(), _lead(logits[eligible]), strict=True), strict=True
                        )
                    )
                )
            x[left:right] = torch.where(chosen, token, x[left:right])
            for i in position[chosen].tolist():
                answer.commit_iteration[i - first] = answer.nfe
            answer.nfe += 1
            k += 1
    answer.ids = x[first:].tolist()
    return answer


def _lead(logits: Tensor) -> list[float]:
    """By how much each row's best logit leads its second best."""
    best, second = logits.double().topk(2).values.unbind(-1)
    return (best - second).tolist()
