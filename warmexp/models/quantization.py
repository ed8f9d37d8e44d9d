"""Linear layers with 8 or 4 bits per weight, through torchao (`backbone.quantization`).

Weights are loaded as ever and then quantized, layer by layer, symmetrically and to the nearest: `int8` with a scale per
output, `int4` with one per GROUP inputs of an output; activations stay as they are. `int8_dynamic` also brings every
position's activations to int8, with a scale of its own, and multiplies integers.

Only the linear layers of the blocks are quantized. Of the embedding table single rows are read, norms are small, and
the head's logits are the confidences by which the methods decide; published practice leaves the three alone as well.

int4 is torchao's one form that computes the same everywhere: it stores a number per byte, and every forward makes a
float matrix of it. The packed forms are for one kind of GPU each, in bfloat16, and round otherwise.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from warmexp.console import quiet_torchao
from warmexp.errors import UserError, check_choice
from warmexp.models.transformer import ModelConfig, Transformer

KINDS = ("none", "int8", "int4", "int8_dynamic")
DTYPES = ("float32", "bfloat16")
_INT4: torch.dtype = torch.int4  # type: ignore[attr-defined]  # torch has it and does not tell
GROUP = 32  # the inputs that share a scale; another number would be other results, and needs another `identity`
KEY = "backbone.quantization"


def check_kind(kind: str, dtype: str) -> None:
    """
    Raises:
        UserError: no such kind, a type of the other numbers that it does not go with, or torchao is not installed.
    """
    check_choice(KEY, kind, KINDS)
    if kind == "none":
        return
    if dtype not in DTYPES:
        why = "sums of int8 numbers pass float16's 65504" if dtype == "float16" else "it would be float32's results"
        raise UserError(
            f"{KEY}={kind} does not go with backbone.dtype={dtype} ({why}): choose"
            f" backbone.dtype={' or '.join(DTYPES)}."
        )
    if find_spec("torchao") is None:
        raise UserError(f"{KEY}={kind} needs a package: pip install 'warmexp[quantization]'.")


def check_sizes(kind: str, layout: str, config: ModelConfig) -> None:
    """
    Raises:
        UserError: a model that this kind cannot quantize.
    """
    if kind == "none":
        return
    if config.experts is not None:
        raise UserError(
            f"{KEY}={kind}: {layout} has the weights of its experts in one tensor [experts, out, in] per layer, which"
            f" torchao's linear layers do not read: choose {KEY}=none, or a backbone without experts."
        )
    odd = sorted({inputs for _, inputs in _shapes(config) if inputs % GROUP})
    if kind == "int4" and odd:
        raise UserError(
            f"{KEY}=int4 has a scale for every {GROUP} inputs and this {layout} has layers of"
            f" {', '.join(map(str, odd))} inputs: choose {KEY}=int8."
        )


def check_engine(kind: str, engine: str) -> None:
    """
    Raises:
        UserError: the engine does not compute with such weights.
    """
    if kind != "none" and engine == "graphs":
        raise UserError(
            f"engine=graphs is not made for {KEY}={kind}, whose forwards were never recorded on a GPU: choose"
            f" engine=fast, or {KEY}=none."
        )


def identity(kind: str) -> dict[str, str]:
    """What it adds to a backbone's identity: nothing for none."""
    return {} if kind == "none" else {"quantization": f"int4 in groups of {GROUP}" if kind == "int4" else kind}


def quantize(transformer: Transformer, kind: str) -> Transformer:
    """In place, layer by layer, so that there is never a second copy of more than one of them.

    Raises:
        UserError: this machine's product of int8 numbers is not exact (int8_dynamic).
    """
    if kind == "none":
        return transformer
    ao = _torchao()
    # torchao would otherwise set options of torch's compiler, for the whole process.
    alone = {"set_inductor_config": False}
    chosen = {
        "int8": lambda: ao.Int8WeightOnlyConfig(granularity=ao.PerRow(), **alone),
        "int4": lambda: ao.IntxWeightOnlyConfig(weight_dtype=_INT4, granularity=ao.PerGroup(GROUP)),
        "int8_dynamic": lambda: ao.Int8DynamicActivationInt8WeightConfig(granularity=ao.PerRow(), **alone),
    }[kind]()
    if kind == "int8_dynamic":
        _check_product(transformer.wte.weight.device)
    with torch.no_grad():
        ao.quantize_(transformer.blocks, chosen)
    return transformer


def stored_bytes(kind: str, config: ModelConfig, weights: int, dtype: torch.dtype) -> int:
    """Of so many weights, once those of the blocks' linear layers are quantized."""
    held = weights * dtype.itemsize
    if kind == "none":
        return held
    for out, inputs in _shapes(config):
        scales = out * inputs // GROUP if kind == "int4" else out
        wide = dtype.itemsize if kind == "int4" else 4
        held += config.n_layers * (out * inputs * (1 - dtype.itemsize) + scales * (wide + 1))  # a scale, a zero
    return held


def made_bytes(kind: str, config: ModelConfig, dtype: torch.dtype) -> int:
    """What a forward makes of the largest layer's integers: one float matrix, of int4 two."""
    copies = {"int8": 1, "int4": 2}.get(kind, 0)
    return copies * dtype.itemsize * max(out * inputs for out, inputs in _shapes(config))


def _shapes(c: ModelConfig) -> list[tuple[int, int]]:
    """(outputs, inputs) of a block's linear layers."""
    heads, kv = c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
    attention = [(heads, c.d_model), (kv, c.d_model), (kv, c.d_model), (c.d_model, heads)]
    return [*attention, *[(c.mlp_hidden_size, c.d_model)] * 2, (c.d_model, c.mlp_hidden_size)]


def _torchao() -> Any:
    """torchao, without what it says of its libraries for other machines: none of them is used here."""
    quiet_torchao()
    try:
        import torchao.quantization as ao
    except ImportError as error:
        raise UserError(
            f"{KEY}: torchao cannot be imported ({str(error).splitlines()[0]}): pip install -U 'warmexp[quantization]'."
        ) from None
    return ao


def _check_product(device: torch.device) -> None:
    """Some processors add pairs of int8 products in 16 bits, which the largest numbers pass: results would be this
    machine's alone."""
    from torchao.kernel import int_scaled_matmul

    a = torch.full((32, 64), 127, dtype=torch.int8, device=device)
    b = torch.full((64, 32), -127, dtype=torch.int8, device=device)
    made: Tensor = int_scaled_matmul(a, b, torch.ones(32, 1, device=device))
    if not bool((made == -127 * 127 * 64).all()):
        raise UserError(
            f"{KEY}=int8_dynamic: products of int8 numbers are not exact on device={device}: choose {KEY}=int8, or"
            " another device=…"
        )
