"""Training states: canvases that look like those the decoder meets, with the loss weight of each position.

Under uniform masking one state in ten or twenty shows a result masked with its operands visible, so arithmetic is
learned slowly. Here most states are a clean prefix, a partly masked block and an all-mask tail, as in
semi-autoregressive decoding; some have scattered visible tokens, as after token injection, some are uniform (LLaDA),
some carry wrong tokens or interpolated embeddings.

Arrays are numpy, [B, L] with L the canvas length; this module knows nothing about prompts or models.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class StateMix:
    """How often each kind of state is drawn, and what counts in the loss."""

    block: float = 0.60  # clean prefix, partly masked block, all-mask tail: what a cold start meets
    scatter: float = 0.25  # the same with tokens visible everywhere: what token injection leaves
    uniform: float = 0.15  # LLaDA's own training, so that no state is quite unknown
    block_lengths: tuple[int, ...] = (16, 16, 16, 8, 24, 48)
    all_masked: float = 0.2  # share of blocks that are masked completely: the first forward of every block
    left_to_right: float = 0.5  # share of blocks that are visible on the left and masked on the right
    wrong: float = (
        0.3  # share of rows in which visible tokens are replaced: so that wrong tokens neither ruin the rest ...
    )
    check_right: float = (
        0.15  # ... nor look certain: these rows, and this share of clean ones, are scored on visible tokens too
    )
    soft: float = 0.1  # share of rows whose masks carry interpolated embeddings, as embedding interpolation feeds them
    visible_weight: float = 0.3
    tail_weight: float = 0.1  # masked tokens after the block: mostly undecidable, but LLaDA-style models predict them
    fill_weight: float = 0.1  # end-of-text filling: easy, and there is much of it


@dataclass(frozen=True)
class States:
    """ids: what the model sees; weight: loss weight per position (the target is the clean canvas); masked positions see
    (1 - soft_weight) e_mask + soft_weight e_soft_ids."""

    ids: np.ndarray
    weight: np.ndarray
    soft_ids: np.ndarray
    soft_weight: np.ndarray


def corrupt(clean: np.ndarray, length: np.ndarray, number_ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A proposal-like version of each row: other numbers, other tokens, and in some rows everything after a point moved
    by 1 to 3.

    Args:
        clean: [B, L] token ids. length: [B] response lengths.
        number_ids: token ids of the numbers 0, 1, 2, … in order, [N]; or [F, N], several ways to write each, none of
            which turns into another way.
    """
    batch, size = clean.shape
    position = np.arange(size)
    out = clean.copy()
    rate = rng.uniform(0.1, 0.8, (batch, 1))
    number_ids = np.atleast_2d(number_ids)
    count = number_ids.shape[1]
    order = np.full(max(clean.max(), number_ids.max()) + 1, -1)
    order[number_ids.ravel()] = np.arange(number_ids.size)
    way, value = order[clean] // count, np.where(order[clean] >= 0, order[clean] % count, -1)
    step = rng.integers(1, 6, clean.shape) * rng.choice((-1, 1), clean.shape)
    near = np.abs(value + step) % count
    any_number = rng.integers(0, min(61, count), clean.shape)
    other = number_ids[np.maximum(way, 0), np.where(rng.random(clean.shape) < 0.5, near, any_number)]
    inside = position < length[:, None]
    out = np.where((value >= 0) & inside & (rng.random(clean.shape) < rate), other, out)
    shuffled = rng.permuted(clean.reshape(-1)).reshape(clean.shape)
    out = np.where((value < 0) & inside & (rng.random(clean.shape) < rate * 0.2), shuffled, out)
    moved = rng.random(batch) < 0.25
    start = (rng.random(batch) * length).astype(int)
    shift = rng.choice((-3, -2, -1, 1, 2, 3), batch)
    source = np.where(moved[:, None] & (position >= start[:, None]), position - shift[:, None], position)
    return np.take_along_axis(out, np.clip(source, 0, size - 1), axis=1)


def draw(
    clean: np.ndarray,
    length: np.ndarray,
    slipped: np.ndarray,
    mask_id: int,
    number_ids: np.ndarray,
    rng: np.random.Generator,
    mix: StateMix,
    grid: int = 0,
    offset: int = 0,
) -> States:
    """One state per row.

    Args:
        clean: [B, L] canvases, filled up with end-of-text. length: [B] tokens up to and including the first
        end-of-text.
        slipped: [B, L] the same problems' solutions with mistakes (`problems.slipped`), filled up likewise.
        grid, offset: where blocks have one length and begin at fixed places: the canvas begins `offset` positions
        into a block of `grid`.
    """
    batch, size = clean.shape
    position = np.arange(size)[None, :]
    response = position < length[:, None]

    def coin(share: float) -> np.ndarray:
        return rng.random((batch, 1)) < share

    # The block being decoded. One in ten starts anywhere, one in ten may lie behind the end of the response.
    kind = rng.choice(3, (batch, 1), p=(mix.block, mix.scatter, mix.uniform))
    width = rng.choice(mix.block_lengths, (batch, 1))
    reach = np.where(coin(0.1), size, np.minimum(length[:, None], size))
    start = (rng.random((batch, 1)) * reach).astype(int)
    start = np.where(coin(0.1), start, start // width * width)
    if grid:
        width, start = np.full_like(start, grid), (start + offset) // grid * grid - offset
    block = (position >= start) & (position < start + width)

    # Which positions of the block are masked.
    rate = np.where(coin(mix.all_masked), 1.0, rng.random((batch, 1)))
    cut = start + rng.random((batch, 1)) * width
    ordered = np.where(position < cut, 0.1, 0.95)
    chance = np.where(coin(mix.left_to_right) & (rate < 1), ordered, rate)
    in_block = block & (rng.random(clean.shape) < chance)

    # Which positions elsewhere: behind the block all (cold start) or some (injected). The filling behind the end of the
    # response is all masked or treated like the rest, because what follows a proposal's end is a choice.
    rho = rng.random((batch, 1))
    scattered = rng.random(clean.shape) >= rho
    scattered = np.where(response | coin(0.5), scattered, True)
    masked = np.where(kind == 0, in_block | (position >= start + width), (position >= start) & scattered)
    anywhere = rng.random(clean.shape) < np.maximum(rng.random((batch, 1)), 1 / size)
    masked = np.where(kind == 2, anywhere, masked)
    none = ~masked.any(axis=1)
    masked[none, np.clip(start[none, 0], 0, size - 1)] = True

    # Wrong visible tokens: half of them a solution with mistakes, half the true one with random damage.
    damaged = np.where(coin(0.5), slipped, corrupt(clean, length, number_ids, rng))
    wrong = coin(mix.wrong)
    taken = rng.random(clean.shape) < rng.uniform(0.2, 1.0, (batch, 1))
    shown = np.where(wrong & taken, damaged, clean)
    ids = np.where(masked, mask_id, shown)

    soft = coin(mix.soft)
    kept = rng.random(clean.shape) < rng.uniform(0.5, 1.0, (batch, 1))
    soft_weight = np.where(soft & masked & kept, rng.random((batch, 1)), 0.0)
    soft_ids = np.where(wrong, damaged, clean)

    hidden_weight = np.where(block | (kind == 2), 1.0, np.where(kind == 1, 0.5, mix.tail_weight))
    weight = np.where(masked, hidden_weight, np.where(wrong | coin(mix.check_right), mix.visible_weight, 0.0))
    # The first two end-of-text tokens decide the length; the rest repeat them.
    weight = np.where(position <= length[:, None], weight, weight * mix.fill_weight)
    return States(ids, weight.astype(np.float32), soft_ids, soft_weight.astype(np.float32))
