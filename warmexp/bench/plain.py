"""Fast-dLLM (arXiv 2505.22618) as published, written down as plainly as possible: what the decode loop is measured against.

One question at a time. Logits of every position that a forward computes, a float64 softmax over all of them, one look per position of the
block. With cache=prefix or dual, the first forward of a block runs on the whole sequence and its keys (not yet rotated) and values are
kept: the block's other forwards run on the block and what follows it (prefix) or on the block alone (dual), against the kept ones. Where
the hidden state at i-1 predicts token i (Dream), that first forward commits the block's first token and nothing else, because the state
before the block is outside the window of the others.

What differs from the released code, each time in its favour or in neither's: a backbone never commits its own mask token, a block that is
full after its first forward gets no second one, ties go to the lowest position and token, the threshold is compared for all positions at
once, and nothing is copied or awaited that the algorithm has no use for. Uncached shifted backbones are decoded block by block too.
The released code (commit 24cc59e, LLaDA, with these rules and rotary tables in float64) gives the same tokens: on small random backbones
162 of 162 canvases with its three ways of caching, thresholds and quotas.

This shares nothing with the decode loop, its caches or its meter, only the weights: the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from warmexp.models.backbone import Backbone

CACHES = ("none", "prefix", "dual")
KeysValues = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Rule:
    """Which masked positions a forward commits: every one with confidence ≥ τ and the best one, or a quota.

    steps: commit the ⌈m / (s - k)⌉ best of m masked positions in a block's k-th forward of s (LLaDA, arXiv 2502.09992), whatever τ is.
    Random weights are never sure of anything; this makes them do as many forwards as trained ones would.
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
    """A finished canvas of L positions. seen, if asked for: per forward, what every eligible response position looked like
    (confidence, and by how much the best token's logit leads the second best's)."""

    ids: list[int]
    commit_iteration: list[int]
    nfe: int = 0
    seen: list[dict[int, tuple[float, float]]] = field(default_factory=list)


@torch.inference_mode()
def plain_decode(
    backbone: Backbone, prompt: Sequence[int], canvas: int, block: int, rule: Rule, cache: str = "none", trace: bool = False
) -> Answer:
    """Decode `canvas` masks after a prompt, `block` at a time (a divisor of `canvas`)."""
    if cache not in CACHES:
        raise ValueError(f"cache={cache} is not one of {', '.join(CACHES)}")
    mask, first = backbone.mask_id, len(prompt)
    x = torch.tensor([*prompt, *[mask] * canvas], device=backbone.device)
    network = _Network(backbone, len(x))
    answer = Answer([], [-1] * canvas)
    for start in range(first, len(x), block):
        end = start + block
        kept: KeysValues | None = None
        k = 0
        while bool((x[start:end] == mask).any()):
            left, right, until = 0, len(x), end
            if cache == "none":
                logits = network.logits(x, left, right)
            elif kept is None:
                kept = []
                logits = network.logits(x, left, right, keep=kept)
                until = start + 1 if backbone.logits == "shifted" else end
                if cache == "prefix":
                    kept = [(keys[:, :start], values[:, :start]) for keys, values in kept]
            else:
                left, right = start, end if cache == "dual" else len(x)
                logits = network.logits(x, left, right, kept=kept)
            backbone.rule_out(logits)
            token = logits.argmax(-1)
            confidence = logits.to(torch.float64).softmax(-1).gather(1, token[:, None])[:, 0]
            position = torch.arange(left, right, device=x.device)
            eligible = (x[left:right] == mask) & (position >= start) & (position < until)
            chosen = rule.chosen(torch.where(eligible, confidence, -torch.inf), k)
            if trace:
                where = (position[eligible] - first).tolist()
                answer.seen.append(dict(zip(where, zip(confidence[eligible].tolist(), _lead(logits[eligible]), strict=True), strict=True)))
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


class _Network:
    """The transformer's own layers, put together for one sequence of T positions and a window of it."""

    def __init__(self, backbone: Backbone, length: int):
        self.transformer, self.shifted = backbone.transformer, backbone.logits == "shifted"
        half = self.transformer.config.head_dim // 2
        exponent = torch.arange(half, device=backbone.device, dtype=torch.float64) / half
        turns = torch.arange(length, device=backbone.device, dtype=torch.float64)[:, None]
        angle = turns * self.transformer.config.rope_theta**-exponent
        wide = torch.float64 if backbone.dtype == torch.float64 else torch.float32
        self.cos, self.sin = angle.cos().to(wide), angle.sin().to(wide)

    def logits(self, x: Tensor, left: int, right: int, kept: KeysValues | None = None, keep: KeysValues | None = None) -> Tensor:
        """Logits of positions left … right-1, computed from these positions alone and the kept keys and values of the others.

        kept: per layer keys and values, [H, T', D] each, T' = left (what follows the window is in the window) or T (the window's rows are
        overwritten). keep: an empty list that is filled with those of the window.
        Returns:
            [right - left, V], row i for token left + i (shifted logits: the window's first row repeats itself).
        """
        h = self.transformer.wte(x[left:right])
        for n, layer in enumerate(self.transformer.blocks):
            a = layer.attn_norm(h)
            q, keys, values = (self._heads(p(a)) for p in (layer.q_proj, layer.k_proj, layer.v_proj))
            if keep is not None:
                keep.append((keys, values))
            if kept is not None:
                keys, values = _merged(kept[n], keys, values, left, right)
            groups = q.shape[0] // keys.shape[0]
            q, keys = self._rotated(q, left), self._rotated(keys, 0)
            if groups > 1:
                keys, values = keys.repeat_interleave(groups, 0), values.repeat_interleave(groups, 0)
            mixed = F.scaled_dot_product_attention(q[None], keys[None], values[None])[0]
            h = h + layer.attn_out(mixed.transpose(0, 1).flatten(1))
            a = layer.ff_norm(h)
            h = h + layer.ff_out(F.silu(layer.ff_proj(a)) * layer.up_proj(a))
        logits = self.transformer.head(self.transformer.ln_f(h))
        return torch.cat((logits[:1], logits[:-1])) if self.shifted else logits

    def _heads(self, x: Tensor) -> Tensor:
        """[T, H·D] -> [H, T, D]."""
        return x.unflatten(-1, (-1, self.transformer.config.head_dim)).transpose(0, 1)

    def _rotated(self, x: Tensor, start: int) -> Tensor:
        """Rotary embedding of [H, T, D] at positions start, start + 1, …; the two halves of D are the coordinates of D/2 planes."""
        cos, sin = self.cos[start : start + x.shape[1]], self.sin[start : start + x.shape[1]]
        a, b = x.to(cos.dtype).chunk(2, dim=-1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1).to(x.dtype)


def _merged(old: tuple[Tensor, Tensor], keys: Tensor, values: Tensor, left: int, right: int) -> tuple[Tensor, Tensor]:
    """The whole sequence's keys and values: put behind the kept prefix in new tensors, or written over the window's rows in place."""
    if old[0].shape[1] == left:
        return torch.cat((old[0], keys), 1), torch.cat((old[1], values), 1)
    for whole, new in zip(old, (keys, values), strict=True):
        whole[:, left:right] = new
    return old
