"""Linear layers with 8 or 4 bits per weight, through torchao (`backbone.quantization`).

Weights are loaded as ever and then quantized, layer by layer, symmetrically and to the nearest: `int8` with a scale per
output, `int4` with one per GROUP inputs of an output; activations stay as they are. `int8_dynamic` also brings every
position's activations to int8, with a scale of its own, and multiplies integers.

Only the linear layers of the blocks are quantized, and the matrices of experts, each as a layer of its own; the router,
which decides like the head, is not. Of the embedding table single rows are read, norms are small, and
the head's logits are the confidences by which the methods decide; published practice leaves the three alone as well.

int4 is torchao's one form that computes the same everywhere: it stores a number per byte, and every forward makes a
float matrix of it. The packed forms are for one kind of GPU each, in bfloat16, and round otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from warmexp.console import quiet_torchao
from warmexp.errors import UserError, check_choice
from warmexp.models.experts import Experts, Weights
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
    odd = sorted({inputs for _, _, inputs in _shapes(config) if inputs % GROUP})
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
        for layer in transformer.blocks.modules():
            if isinstance(layer, Experts):
                for name in ("ff_proj", "up_proj", "ff_out"):
                    made = QuantizedWeights(getattr(layer, name), lambda one: ao.quantize_(one, chosen), kind)
                    setattr(layer, name, made)
    return transformer


class QuantizedWeights(Weights):
    """The matrices of all experts, each as torchao quantizes a linear layer's; what it makes of one of them (integers,
    scales, zeros) is stacked, so that all can be multiplied at once."""

    def __init__(self, weights: Weights, in_place: Callable[[nn.Linear], Any], kind: str):
        nn.Module.__init__(self)
        self.together = kind != "int8_dynamic"  # there is no grouped product of integers
        self.least = GROUP if kind == "int8_dynamic" else 1  # a GPU's product of integers has more rows than 16
        out, inputs = weights.weight.shape[1:]
        for n, weight in enumerate(weights.weight.data):
            layer = nn.Linear(inputs, out, bias=False, device="meta")
            layer.weight = nn.Parameter(weight, requires_grad=False)
            in_place(layer)
            one: Any = layer.weight
            names, self._others = one.__tensor_flatten__()
            for name in names:
                part = getattr(one, name)
                if not n:
                    whole = part.new_empty(len(weights.weight), *part.shape)
                    self.register_parameter(name, nn.Parameter(whole, requires_grad=False))
                self.get_parameter(name)[n] = part
        self._kind = type(one)
        self._names = names

    def of(self, n: int) -> Tensor:
        return self._kind.__tensor_unflatten__(
            {name: self.get_parameter(name)[n] for name in self._names}, self._others, 0, 0
        )

    def product(self, x: Tensor, ends: Tensor, expert: Tensor) -> Tensor:
        whole, scale = self.get_parameter("qdata").to(x.dtype), self.get_parameter("scale")
        if scale.shape[-1] == 1:  # as torchao does with one layer: a scale per output can wait for the sums
            return torch._grouped_mm(x, whole.transpose(1, 2), ends) * scale[..., 0].to(x.dtype)[expert]
        whole = (whole.unflatten(-1, (-1, GROUP)) * scale[..., None].to(x.dtype)).flatten(-2)
        return torch._grouped_mm(x, whole.transpose(1, 2), ends)


def stored_bytes(kind: str, config: ModelConfig, weights: int, dtype: torch.dtype) -> int:
    """Of so many weights, once those of the blocks' linear layers are quantized."""
    held = weights * dtype.itemsize
    if kind == "none":
        return held
    for count, out, inputs in _shapes(config):
        scales = out * inputs // GROUP if kind == "int4" else out
        wide = dtype.itemsize if kind == "int4" else 4
        held += count * (out * inputs * (1 - dtype.itemsize) + scales * (wide + 1))  # a scale, a zero
    return held


def made_bytes(kind: str, config: ModelConfig, dtype: torch.dtype, together: bool = False) -> int:
    """What a forward makes of the largest layer's integers: one float matrix, of int4 two. together: all experts of a
    layer are multiplied at once, as a GPU does in bfloat16."""
    copies = {"int8": 1, "int4": 2}.get(kind, 0)
    largest = max(out * inputs for _, out, inputs in _shapes(config))
    if together and config.experts is not None:
        largest = max(largest, config.experts.count * config.experts.width * config.d_model)
    return copies * dtype.itemsize * largest


def _shapes(c: ModelConfig) -> list[tuple[int, int, int]]:
    """(how many, outputs, inputs) of the blocks' linear layers and of experts' matrices."""
    heads, kv, e = c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim, c.experts
    dense = c.n_layers if e is None else sum(n in e.dense for n in range(c.n_layers))
    attention = [
        (c.n_layers, out, inputs) for out, inputs in ((heads, c.d_model), *[(kv, c.d_model)] * 2, (c.d_model, heads))
    ]
    widths = [(dense, c.mlp_hidden_size)]
    if e is not None:
        widths += [((c.n_layers - dense) * e.count, e.width), (c.n_layers - dense, e.shared)]
    kinds = [(count, width) for count, width in widths if count and width]
    return attention + [
        one for count, width in kinds for one in ((2 * count, width, c.d_model), (count, c.d_model, width))
    ]


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
