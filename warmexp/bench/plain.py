"""Fast-dLLM (arXiv 2505.22618) as published, written down as plainly as possible: what the decode loop is measured against.

One question at a time. Logits of every position of the sequence, a float64 softmax over all of them, one look per position of the block.
With cache=prefix or dual, the first forward of a block runs on the whole sequence and its keys and values are kept: the block's other
forwards run on the block and what follows it (prefix) or on the block alone (dual), against the kept ones. Where the hidden state at i-1
predicts token i (Dream), that first forward commits the block's first token and nothing else, because the state before the block is
outside the window of the others.

Three things differ from the released code, and the decode loop has them too: a backbone never commits its own mask token, a block that is
full after its first forward gets no second one, and ties go to the lowest position and token.

This shares nothing with the decode loop, its caches or its meter, only the weights: the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from warmexp.backbone.backbone import Backbone
from warmexp.backbone.transformer import Transformer

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
    answer = Answer([], [-1] * canvas)
    for start in range(first, len(x), block):
        end = start + block
        kept: KeysValues | None = None
        k = 0
        while bool((x[start:end] == mask).any()):
            left, right, until = 0, len(x), end
            if cache == "none":
                logits = _whole(backbone, x)
            elif kept is None:
                logits, kept = _window(backbone, x, left, right, None)
                until = start + 1 if backbone.logits == "shifted" else end
            else:
                left, right = start, end if cache == "dual" else len(x)
                logits, _ = _window(backbone, x, left, right, kept)
            token, confidence, lead = _best(logits, mask)
            position = torch.arange(left, right, device=x.device)
            eligible = (x[left:right] == mask) & (position >= start) & (position < until)
            chosen = rule.chosen(torch.where(eligible, confidence, -torch.inf), k)
            if trace:
                where = position[eligible] - first
                answer.seen.append(dict(zip(where.tolist(), zip(confidence[eligible].tolist(), lead(eligible), strict=True), strict=True)))
            x[left:right] = torch.where(chosen, token, x[left:right])
            for i in position[chosen].tolist():
                answer.commit_iteration[i - first] = answer.nfe
            answer.nfe += 1
            k += 1
    answer.ids = x[first:].tolist()
    return answer


def _best(logits: Tensor, mask: int):
    """Every position's best token and its probability in float64, and a function that gives its lead over the second best."""
    logits = logits.to(torch.float64)
    logits[:, mask] = -torch.inf
    token = logits.argmax(-1)
    confidence = logits.softmax(-1).gather(1, token[:, None])[:, 0]

    def lead(rows: Tensor) -> list[float]:
        best, second = logits[rows].topk(2).values.unbind(-1)
        return (best - second).tolist()

    return token, confidence, lead


def _whole(backbone: Backbone, x: Tensor) -> Tensor:
    """[T, V] logits, row i for token i, by the backbone's own forward. Row 0 (a prompt token, never read) repeats row 1."""
    position = torch.arange(1, len(x), device=x.device)
    logits = backbone(x[None], torch.tensor([len(x)], device=x.device), torch.zeros_like(position), position)
    return torch.cat((logits[:1], logits))


def _window(backbone: Backbone, x: Tensor, left: int, right: int, kept: KeysValues | None) -> tuple[Tensor, KeysValues]:
    """Logits of positions left … right-1, computed from these positions alone and the kept keys and values of all others.

    Returns:
        [right - left, V], row i for token left + i (shifted logits: the window's first row repeats itself); per layer the keys, not yet
        rotated, and values of all positions, [H, T, D] each.
    """
    transformer = backbone.transformer
    h = transformer.wte(x[left:right])
    computed: KeysValues = []
    for n, layer in enumerate(transformer.blocks):
        a = layer.attn_norm(h)
        q, keys, values = (_heads(p(a), transformer) for p in (layer.q_proj, layer.k_proj, layer.v_proj))
        if kept is not None:
            keys, values = (torch.cat((old[:, :left], new, old[:, right:]), 1) for old, new in zip(kept[n], (keys, values), strict=True))
        computed.append((keys, values))
        groups = q.shape[0] // keys.shape[0]
        keys, values = keys.repeat_interleave(groups, 0), values.repeat_interleave(groups, 0)
        q, keys = _rotated(q, left, transformer), _rotated(keys, 0, transformer)
        mixed = F.scaled_dot_product_attention(q[None], keys[None], values[None])[0]
        h = h + layer.attn_out(mixed.transpose(0, 1).flatten(1))
        a = layer.ff_norm(h)
        h = h + layer.ff_out(F.silu(layer.ff_proj(a)) * layer.up_proj(a))
    logits = transformer.head(transformer.ln_f(h))
    if backbone.logits == "shifted":
        logits = torch.cat((logits[:1], logits[:-1]))
    return logits, computed


def _heads(x: Tensor, transformer: Transformer) -> Tensor:
    """[T, H·D] -> [H, T, D]."""
    return x.unflatten(-1, (-1, transformer.config.head_dim)).transpose(0, 1)


def _rotated(x: Tensor, start: int, transformer: Transformer) -> Tensor:
    """Rotary embedding of [H, T, D] at positions start, start + 1, …; the two halves of D are the two coordinates of D/2 planes."""
    half = transformer.config.head_dim // 2
    turns = torch.arange(start, start + x.shape[1], device=x.device, dtype=torch.float64)[:, None]
    angle = turns * transformer.config.rope_theta ** (-torch.arange(half, device=x.device, dtype=torch.float64) / half)
    wide = x.dtype if x.dtype == torch.float64 else torch.float32
    cos, sin = angle.cos().to(wide), angle.sin().to(wide)
    left, right = x.to(wide).split(half, dim=-1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), -1).to(x.dtype)
