"""A checkpoint of random weights in a published layout, to measure load time, memory and speed at full size without any
download:

    python -m warmexp.models.random_checkpoint --layout llada --out FOLDER    # LLaDA-8B's shape, 15 GiB in bfloat16
    python -m warmexp backbone=checkpoint backbone.path=FOLDER …

It has everything a published one has: config.json, shards with an index, tokenizer files of the family's kind (one
token per byte and the family's special tokens, at their published ids if the embedding table reaches that far). What it
decodes means nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from warmexp.console import Parser, complain, ending, show
from warmexp.errors import UserError
from warmexp.io import give_usual_mode
from warmexp.models.hub import INDEX
from warmexp.models.layout import targets
from warmexp.models.layouts import LAYOUTS
from warmexp.models.published import SHAPES, TINY, TOKENS, published_config
from warmexp.models.transformer import Transformer
from warmexp.models.weights import DTYPES, GIB

BYTES = 256
_SIZES = dict.fromkeys(name for shape in SHAPES.values() for name in shape)


def write(
    layout: str,
    out: Path,
    shape: dict[str, int],
    dtype: str = "bfloat16",
    shard_gib: float = 4.0,
    seed: int = 0,
    device: str = "cpu",
) -> int:
    """Write the checkpoint, one shard in memory at a time; returns the bytes of its weights.

    shape: as in published.SHAPES. device: where the numbers are drawn.
    Raises:
        UserError: a shape that is no transformer, or a folder that already holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out} exists and is not an empty folder: give another.")
    spare = 2 if layout == "smdm" else 0  # the mark of a space, and the row that the head has not
    if shape["rows"] < BYTES + len(TOKENS[layout]) + spare:
        raise UserError(
            f"--rows {shape['rows']} is too small: {BYTES} bytes and {len(TOKENS[layout])} special tokens need a row"
            " each."
        )
    published = max(TOKENS[layout].values()) < shape["rows"]
    tokens = {name: i if published else BYTES + n for n, (name, i) in enumerate(TOKENS[layout].items())}
    config = published_config(layout, shape, dtype, tokens)
    with torch.device("meta"):
        transformer = Transformer(LAYOUTS[layout].config(config, f"--out {out}"))
    ours = {name: tensor.shape for name, tensor in transformer.state_dict().items()}
    groups = transformer.config.n_kv_heads
    shapes = {name: target.shape for name, target in targets(LAYOUTS[layout], ours, groups).items()}
    out.mkdir(parents=True, exist_ok=True)
    total = _write_shards(out, shapes, DTYPES[dtype], int(shard_gib * GIB), seed, device)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    files = dict.fromkeys(("dream", "sdar", "fast_dllm_v2"), _dream_tokenizer) | {"smdm": _llama_tokenizer}
    files.get(layout, _llada_tokenizer)(out, tokens)
    return total


def _write_shards(
    out: Path, shapes: dict[str, tuple[int, ...]], dtype: torch.dtype, limit: int, seed: int, device: str
) -> int:
    plan: list[list[str]] = [[]]
    room = limit
    for name, shape in shapes.items():
        size = math.prod(shape) * dtype.itemsize
        if size > room and plan[-1]:
            plan.append([])
            room = limit
        plan[-1].append(name)
        room -= size
    generator = torch.Generator(device).manual_seed(seed)
    weight_map: dict[str, str] = {}
    for n, names in enumerate(plan, start=1):
        file = f"model-{n:05d}-of-{len(plan):05d}.safetensors"
        tensors = {name: _random(name, shapes[name], dtype, generator) for name in names}
        save_file(tensors, out / file, metadata={"format": "pt"})
        give_usual_mode(out / file)
        weight_map |= dict.fromkeys(names, file)
    total = sum(math.prod(shape) for shape in shapes.values()) * dtype.itemsize
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (out / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return total


def _random(name: str, shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    """Norms are ones; everything else is normal with the variance that keeps activations at scale."""
    if len(shape) == 1 and name.endswith("weight"):
        return torch.ones(shape, dtype=dtype)
    if name.endswith("expert_bias"):
        return torch.zeros(shape, dtype=torch.float32)
    drawn = torch.randn(shape, dtype=dtype, generator=generator, device=generator.device)
    return drawn.div_(math.sqrt(shape[-1])).cpu()


def _alphabet() -> dict[str, int]:
    return {character: i for i, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}


def _llada_tokenizer(out: Path, tokens: dict[str, int]) -> None:
    """tokenizer.json. Special tokens are in the vocabulary too, which lets their ids leave a gap after the bytes."""
    tokenizer = Tokenizer(models.BPE(vocab=_alphabet() | tokens, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in tokens])
    tokenizer.save(str(out / "tokenizer.json"))


def _dream_tokenizer(out: Path, tokens: dict[str, int]) -> None:
    """Qwen2's files."""
    flags = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
    added = {str(i): {"content": name, **flags} for name, i in tokens.items()}
    (out / "vocab.json").write_text(json.dumps(_alphabet(), ensure_ascii=False), encoding="utf-8")
    (out / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    config = {"added_tokens_decoder": added, "tokenizer_class": "DreamTokenizer"}
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _llama_tokenizer(out: Path, tokens: dict[str, int]) -> None:
    """Llama 2's tokenizer.json, with the mask: bytes, and a mark in the place of spaces and before a text."""
    free = [i for i in range(BYTES + len(tokens) + 1) if i not in tokens.values()]
    pieces = [f"<0x{byte:02X}>" for byte in range(BYTES)] + ["▁"]
    vocab = dict(zip(pieces, free, strict=False)) | tokens
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in tokens])
    tokenizer.save(str(out / "tokenizer.json"))


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m warmexp.models.random_checkpoint", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--layout", choices=sorted(SHAPES), required=True)
    parser.add_argument("--out", type=Path, required=True, help="a new or empty folder")
    parser.add_argument("--tiny", action="store_true", help="the same parts, few and small; sizes that are given count")
    for name in _SIZES:
        sizes = ", ".join(f"{shape[name]} for {layout}" for layout, shape in SHAPES.items() if name in shape)
        parser.add_argument(f"--{name}", type=int, help=f"default {sizes}")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bfloat16")
    parser.add_argument("--shard-gib", type=float, default=4.0, help="largest shard, in GiB")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="where the numbers are drawn; a GPU is faster")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    options = _arguments(words)
    given = {name: value for name, value in vars(options).items() if name in _SIZES and value is not None}
    try:
        for name in given.keys() - SHAPES[options.layout].keys():
            raise UserError(f"--{name} is no size of --layout {options.layout}: leave it out.")
        shape = SHAPES[options.layout]
        if options.tiny:
            shape = {name: TINY[name] for name in shape}
        total = write(
            options.layout,
            options.out,
            shape | given,
            options.dtype,
            options.shard_gib,
            options.seed,
            options.device,
        )
    except UserError as error:
        complain(f"warmexp: {error}")
        return 2
    show(f"{options.out}: {options.layout} layout, {total / GIB:.2f} GiB of random weights")
    return 0


if __name__ == "__main__":
    with ending():
        sys.exit(main())
