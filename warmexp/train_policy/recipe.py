"""How an unmasking policy is trained.

Prompts are decoded by thresholds, drawn for each, up to a forward that is drawn, too; from there on the block is
decoded carefully. What the forward said of the block is an example, and a token that it proposed is right if the
careful decoding puts it there as well. So the policy learns from the states that decoders in a hurry come to, and not
from their mistakes; no reference answer is read.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from warmexp.decode.reading import normalised_entropy, top
from warmexp.methods.unmask.policy import Policy, Shape, features
from warmexp.models.backbone import Backbone

log = logging.getLogger("warmexp.train_policy")


@dataclass(frozen=True)
class PolicyRecipe:
    """canvas, widths: positions of it, and of its blocks, by turns. hurried: thresholds of the decoding that leads to
    an example. careful: that of the decoding that judges it. forwards: the first so many of a block may be an
    example."""

    canvas: int = 48
    widths: tuple[int, ...] = (16, 24, 16, 48)
    hurried: tuple[float, ...] = (0.4, 0.5, 0.6, 0.7, 0.8)
    careful: float = 0.97
    forwards: int = 4
    rows: int = 64  # prompts decoded together
    batch: int = 256
    passes: int = 40
    lr: float = 2e-3
    weight_decay: float = 0.01
    held_out: float = 0.1  # share of the prompts whose loss is reported
    shape: Shape = field(default_factory=Shape)


RECIPE = PolicyRecipe()


@dataclass(frozen=True)
class Examples:
    """x: [N, W, FEATURES]. right: [N, W], whether the proposed token is what the careful decoding has there. counts:
    [N, W], where something is masked."""

    x: np.ndarray
    right: np.ndarray
    counts: np.ndarray


@torch.no_grad()
def look(
    backbone: Backbone, prompts: Tensor, canvas: Tensor, begin: int, end: int
) -> tuple[Tensor, Tensor, np.ndarray]:
    """Tokens and confidences [n, W] of a block of canvases [n, L], confidence -1 where nothing is masked, and the
    policy's features of it."""
    ids, open_ = torch.cat((prompts, canvas), 1), canvas[:, begin:end] == backbone.mask_id
    n, first = len(ids), prompts.shape[1]
    row = torch.arange(n).repeat_interleave(end - begin)
    position = torch.arange(first + begin, first + end).repeat(n)
    logits = backbone(ids, torch.full((n,), ids.shape[1]), row, position)
    logits = backbone.rule_out(logits.double())
    best, token = top(logits, 2)
    said = (part.view(open_.shape) for part in (best[:, 0], best[:, 1], normalised_entropy(logits)))
    confidence, second, entropy = said
    x = features(*(part.cpu().numpy() for part in (open_, confidence, second, entropy)))
    return token[:, 0].view(open_.shape), confidence.masked_fill(~open_, -1.0), x


@torch.no_grad()
def examples(
    backbone: Backbone, prompts: Tensor, r: PolicyRecipe, width: int, rng: np.random.Generator
) -> list[Examples]:
    """Of every block of prompts [B, P]: the forwards from that on at which the hurried decoding of each row ends."""
    mask, device, found = backbone.mask_id, prompts.device, []
    canvas = torch.full((len(prompts), r.canvas), mask, device=device)
    for begin in range(0, r.canvas, width):
        end = min(begin + width, r.canvas)
        block = canvas[:, begin:end]  # a part of the canvas, not a copy of it
        hurried = torch.from_numpy(rng.choice(r.hurried, len(prompts))).to(device)
        due = torch.from_numpy(rng.integers(0, r.forwards, len(prompts))).to(device)
        said = []  # of every forward: rows, proposed tokens, where they count, features
        for visit in range(end - begin):
            rows = (block == mask).any(1).nonzero()[:, 0]
            if not rows.numel():
                break
            token, confidence, x = look(backbone, prompts[rows], canvas[rows], begin, end)
            late = due[rows] <= visit
            said.append((rows[late], token[late], confidence[late] >= 0, x[late.cpu().numpy()]))
            commit = confidence >= torch.where(late, r.careful, hurried[rows])[:, None]
            commit.scatter_(1, confidence.argmax(1, keepdim=True), True)
            block[rows] = torch.where(commit, token, block[rows])
        found += [Examples(x, (token == block[rows]).cpu().numpy(), c.cpu().numpy()) for rows, token, c, x in said]
    return found


def collect(
    backbone: Backbone, prompts: Sequence[list[int]], r: PolicyRecipe, seed: int
) -> tuple[list[Examples], list[Examples]]:
    """Examples to train on and to look at, of different prompts; those of one length are decoded together."""
    shown = defaultdict(list)
    for n, prompt in enumerate(prompts):
        shown[n < r.held_out * len(prompts), len(prompt)].append(prompt)
    sides: tuple[list[Examples], list[Examples]] = ([], [])
    done = 0
    for turn, ((aside, _), group) in enumerate(sorted(shown.items())):
        rng = np.random.default_rng((seed, turn))
        for begin in range(0, len(group), r.rows):
            rows = torch.tensor(group[begin : begin + r.rows], device=backbone.device)
            width = r.widths[(turn + begin // r.rows) % len(r.widths)]
            sides[aside].extend(examples(backbone, rows, r, width, rng))
            done += len(rows)
        if done // 100 > (done - len(group)) // 100:
            log.info("%d of %d prompts decoded", done, len(prompts))
    return sides


def loss_of(logits: Tensor, right: Tensor, counts: Tensor) -> Tensor:
    """Mean cross-entropy, nats, of the masked positions."""
    found = F.binary_cross_entropy_with_logits(logits, right, reduction="none")
    return (found * counts).sum() / counts.sum()


def train(
    found: Sequence[Examples], aside: Sequence[Examples], r: PolicyRecipe, seed: int
) -> tuple[Policy, float, float]:
    """A policy, its loss on the examples set aside, and there that of confidence alone."""
    torch.manual_seed(seed)
    policy, rng = Policy(r.shape), np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=r.lr, betas=(0.9, 0.98), weight_decay=r.weight_decay)
    batches = _batches(found, r.batch)
    steps = r.passes * len(batches)
    for step in range(steps):
        if step % len(batches) == 0:
            order = rng.permutation(len(batches))
        x, right, counts = batches[order[step % len(batches)]]
        optimizer.param_groups[0]["lr"] = r.lr * min(1.0, (step + 1) / 100, (steps - step) / (0.5 * steps))
        loss = loss_of(policy(x), right, counts)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % len(batches) == 0:
            log.info("pass %d of %d: %.4f nats", (step + 1) // len(batches), r.passes, judged(policy, aside, r)[0])
    return policy, *judged(policy, aside, r)


@torch.no_grad()
def judged(policy: Policy, aside: Sequence[Examples], r: PolicyRecipe) -> tuple[float, float]:
    """The loss of a policy, and that of confidence alone."""
    total = weight = plain = 0.0
    for x, right, counts in _batches(aside, r.batch):
        n = float(counts.sum())
        total, plain = (
            total + n * float(loss_of(policy(x), right, counts)),
            plain + n * float(loss_of(x[..., 1], right, counts)),
        )
        weight += n
    return total / weight, plain / weight


def _batches(found: Sequence[Examples], size: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Examples of one width each."""
    made = []
    found = [each for each in found if len(each.x)]
    for width in sorted({each.x.shape[1] for each in found}):
        same = [each for each in found if each.x.shape[1] == width]
        arrays = [np.concatenate([getattr(each, name) for each in same]) for name in ("x", "right", "counts")]
        mixed = np.random.default_rng(width).permutation(len(arrays[0]))
        tensors = [torch.from_numpy(array[mixed].astype(np.float32)) for array in arrays]
        made += list(zip(*(tensor.split(size) for tensor in tensors), strict=True))
    return made
