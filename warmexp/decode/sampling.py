"""Tokens drawn from softmax(z/T), on the device that has the logits.

By the Gumbel-max trick: argmax_v z_v/T + g_v is such a draw where the g_v are independent Gumbel numbers. Each of them
is a function of (seed, question, forward, response position, token) alone: 64 bits that belong to the first four
(rng.bits) are the state from which splitmix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014) makes its v-th output. That is integer arithmetic modulo 2^64, the same bits on every device; of them 52
become a float64 without rounding. Only the two logarithms are left to a device's own library, whose last bit may
differ.
"""

from __future__ import annotations

import torch
from torch import Tensor

# splitmix64's odd constants as signed numbers: torch has no arithmetic on unsigned ones, and both multiply alike modulo
# 2^64.
_STEP, _FIRST, _SECOND = (n - 2**64 for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
# Numbers that are worked on at once: few enough for a CPU's caches, many enough to keep a GPU busy.
_PIECE = {"cpu": 1 << 16, "cuda": 1 << 23}


def sampled(logits: Tensor, temperature: float, keys: Tensor) -> Tensor:
    """[R] long, a token from each row of softmax(logits / temperature). logits: [R, V] float64; keys: [R] long, each
    row's own bits."""
    rows = max(1, _PIECE.get(logits.device.type, _PIECE["cuda"]) // logits.shape[1])
    pieces = zip(logits.split(rows), keys.split(rows), strict=True)
    return torch.cat([(z / temperature + gumbel(key, z.shape[1])).argmax(-1) for z, key in pieces])


def gumbel(keys: Tensor, count: int) -> Tensor:
    """[R, count] float64 from the standard Gumbel distribution, finite. keys: [R] long."""
    u = (
        (hashed(keys, count) >> 12).bitwise_and_((1 << 52) - 1).double().add_(0.5).mul_(2.0**-52)
    )  # exact, inside (0, 1)
    return u.log_().neg_().log_().neg_()


def hashed(keys: Tensor, count: int) -> Tensor:
    """[R, count] long, the first outputs of splitmix64 from each of these states. keys: [R] long."""
    z = keys[:, None] + torch.arange(1, count + 1, device=keys.device) * _STEP
    for shift, factor in ((30, _FIRST), (27, _SECOND)):
        z = z.bitwise_xor_(_shifted(z, shift)).mul_(factor)
    return z.bitwise_xor_(_shifted(z, 31))


def _shifted(z: Tensor, by: int) -> Tensor:
    """To the right, zeros coming in."""
    return (z >> by).bitwise_and_((1 << (64 - by)) - 1)
