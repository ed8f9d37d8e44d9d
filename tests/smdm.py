"""A small backbone exactly as SMDM's are published and laid into a folder: lit-gpt's tensor names in one file, a
config.json of lit-gpt's fields, and a tokenizer of Llama 2's kind, which has no mask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

# <unk>, <s>, </s>, the bytes, the mark of a space: the mask is the first id behind them.
WORDS, UNK, BOS, EOS = 260, 0, 1, 2
MASK = WORDS
CONFIG: dict[str, Any] = {
    "architectures": ["TransEncoder"], "model_type": "smdm", "name": "Diff_LLaMA_0M", "block_size": 512, "vocab_size": WORDS,
    "padding_multiple": 4, "n_layer": 2, "n_head": 4, "n_embd": 32, "rotary_percentage": 1.0, "parallel_residual": False, "bias": False,
    "_norm_class": "FusedRMSNorm", "norm_eps": 1e-5, "_mlp_class": "LLaMAMLP", "intermediate_size": 48, "n_query_groups": 4,
    "mask_token_id": MASK, "eos_token_id": EOS,
}  # fmt: skip


def tensors(config: dict[str, Any], seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights under the published names, in the shapes that the modelling code declares."""
    d, inner, heads, groups = (config[name] for name in ("n_embd", "intermediate_size", "n_head", "n_query_groups"))
    padded = -(-config["vocab_size"] // config["padding_multiple"]) * config["padding_multiple"]
    shapes: dict[str, tuple[int, ...]] = {"lm_head.weight": (padded, d), "transformer.wte.weight": (padded + 1, d)}
    for n in range(config["n_layer"]):
        at = f"transformer.h.{n}."
        shapes |= {f"{at}norm_{i}.weight": (d,) for i in (1, 2)}
        shapes[f"{at}attn.attn.weight"] = ((heads + 2 * groups) * (d // heads), d)
        shapes[f"{at}attn.proj.weight"] = (d, d)
        shapes |= {f"{at}mlp.swiglu.w{i}.weight": (d, inner) if i == 3 else (inner, d) for i in (1, 2, 3)}
    shapes["transformer.ln_f.weight"] = (d,)
    g = torch.Generator().manual_seed(seed)
    made = {}
    for name, shape in shapes.items():
        drawn = torch.randn(shape, generator=g)
        large = 3 if "lm_head" in name or "wte" in name else 1.5
        made[name] = 1 + 0.2 * drawn if len(shape) == 1 else drawn * large / shape[1] ** 0.5
    return made


def llama_tokenizer() -> Tokenizer:
    special = ["<unk>", "<s>", "</s>"]
    vocab = {piece: i for i, piece in enumerate([*special, *(f"<0x{byte:02X}>" for byte in range(256)), "▁"])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    return tokenizer


def write_smdm(folder: Path, seed: int = 0, **changes: Any) -> tuple[Path, dict[str, torch.Tensor], dict[str, Any]]:
    """The folder, its tensors and its config.json. changes: of config.json; ... leaves one out."""
    whole = CONFIG | changes
    config = {key: value for key, value in whole.items() if value is not ...}
    made = tensors(CONFIG | config, seed)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(made, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    llama_tokenizer().save(str(folder / "tokenizer.json"))
    return folder, made, config
