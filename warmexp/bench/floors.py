"""What a forward cannot be faster than on a device: reading the weights once, and doing the arithmetic.

Both rates are measured on the device itself, not taken from a data sheet: the bandwidth of a copy and the rate of a
square matrix product in the weights' dtype. The best of several repetitions counts, because a floor must not be raised
by a disturbance.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from warmexp.models.linear import Linear, packs
from warmexp.models.transformer import Transformer

# Large enough to leave the caches behind (an H200's L2 holds 50 MB) and to fill the device.
COPY_BYTES = {"cuda": 1 << 30, "cpu": 1 << 27}
MATMUL_SIZE = {"cuda": 8192, "cpu": 512}
WARM_UP, REPEATS = 3, 10


@dataclass(frozen=True)
class Rates:
    """bandwidth: bytes read plus bytes written per second by a copy. flops: floating-point operations per second of a
    matrix product, a multiplication and an addition being two."""

    bandwidth: float
    flops: float


@dataclass(frozen=True)
class Work:
    """What one forward has to do: weight bytes to read, floating-point operations."""

    bytes: int
    flops: int


def wait(device: torch.device) -> None:
    """Until the device has done everything it was given; the CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@torch.inference_mode()
def rates(device: torch.device, dtype: torch.dtype) -> Rates:
    """Measure both, the product as the backbone's own layers compute it; TF32 is used for float32 only if it is on."""
    source = torch.zeros(COPY_BYTES[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    bandwidth = 2 * source.numel() / _best(partial(target.copy_, source), device)
    del source, target
    n = MATMUL_SIZE[device.type]
    x = torch.randn(n, n, device=device).to(dtype)  # zeros would draw less power and run faster
    layer = Linear(n, n, bias=False, device=device, dtype=dtype)
    if packs(layer.weight):
        layer.pack()
    return Rates(bandwidth, 2 * n**3 / _best(partial(layer, x), device))


def _best(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest repetition."""
    times = []
    for _ in range(WARM_UP + REPEATS):
        wait(device)
        started = time.perf_counter()
        work()
        wait(device)
        times.append(time.perf_counter() - started)
    return min(times[WARM_UP:])


def forward_work(transformer: Transformer, rows: int, tokens: int, head_rows: int, attended: int | None = None) -> Work:
    """The work of a forward over `rows` rows of `tokens` positions (padding is computed too), `head_rows` of which go
    through the head.

    FLOPs: 2 per weight of a block's matrices and token, 4·T·d per token and layer for attention (QKᵀ and the sum over
    V, not causal; T: `attended` positions, those of the row unless some are read from a cache), 2 per weight of the
    head and head row; norms and activations are left out. The last layer computes keys and values everywhere and the
    rest for the head rows alone. Bytes: every weight once, except the embedding table, of which only the rows of the
    tokens are read (it is the head too where they are tied).
    """
    c = transformer.config
    table = transformer.wte.weight
    total = sum(p.numel() * p.element_size() for p in transformer.parameters())
    matrices = sum(p.numel() for p in transformer.blocks[0].parameters() if p.dim() == 2)
    keys_values = 2 * c.d_model * c.n_kv_heads * c.head_dim
    attention = 4 * (attended or tokens) * c.d_model
    all_layers_but_one = (c.n_layers - 1) * rows * tokens * (2 * matrices + attention)
    last_layer = rows * tokens * 2 * keys_values + head_rows * (2 * (matrices - keys_values) + attention)
    flops = all_layers_but_one + last_layer + 2 * head_rows * table.numel()
    return Work(total - (0 if c.weight_tying else table.numel() * table.element_size()), flops)
