"""Small backbones in LLaDA's published layout, written from the list of published names."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

SPECIAL = ["<|endoftext|>", "<|mdm_mask|>", "<|eot_id|>"]
EOS, MASK, EOT = 256, 257, 258
VOCAB = 259


def byte_tokenizer() -> Tokenizer:
    """One token per byte, then the special tokens: the smallest tokenizer that encodes any text."""
    alphabet = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return tokenizer


def llada_tensors(d: int = 16, layers: int = 2, mlp: int = 32, rows: int = 264, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights under LLaDA's published key names, written out from the list of names (not from our own module)."""
    g = torch.Generator().manual_seed(seed)

    def matrix(out: int, inner: int) -> torch.Tensor:
        return torch.randn(out, inner, generator=g) / inner**0.5

    tensors = {"model.transformer.wte.weight": torch.randn(rows, d, generator=g), "model.transformer.ff_out.weight": 3 * matrix(rows, d)}
    tensors["model.transformer.ln_f.weight"] = torch.ones(d)
    for n in range(layers):
        block = f"model.transformer.blocks.{n}."
        for name in ("attn_norm", "ff_norm"):
            tensors[f"{block}{name}.weight"] = torch.ones(d)
        for name in ("q_proj", "k_proj", "v_proj", "attn_out"):
            tensors[f"{block}{name}.weight"] = matrix(d, d)
        for name in ("ff_proj", "up_proj"):
            tensors[f"{block}{name}.weight"] = matrix(mlp, d)
        tensors[f"{block}ff_out.weight"] = matrix(d, mlp)
    return tensors


def llada_config(d: int = 16, layers: int = 2, mlp: int = 32, rows: int = 264) -> dict:
    """A config.json with the fields LLaDA publishes."""
    return {
        "architectures": ["LLaDAModelLM"],
        "model_type": "llada",
        "activation_type": "silu",
        "block_type": "llama",
        "d_model": d,
        "n_layers": layers,
        "n_heads": 2,
        "n_kv_heads": 2,
        "mlp_hidden_size": mlp,
        "vocab_size": VOCAB,
        "embedding_size": rows,
        "max_sequence_length": 1024,
        "rope": True,
        "rope_theta": 500000.0,
        "rms_norm_eps": 1e-05,
        "layer_norm_type": "rms",
        "include_bias": False,
        "include_qkv_bias": False,
        "weight_tying": False,
        "mask_token_id": MASK,
        "eos_token_id": EOS,
        "pad_token_id": EOS,
        "use_cache": False,
    }


def write_checkpoint(folder: Path, tensors: dict[str, torch.Tensor] | None = None, config: dict | None = None, shards: int = 2) -> Path:
    """A folder in the published layout: config.json, sharded safetensors with an index, tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = llada_tensors() if tensors is None else tensors
    names = sorted(tensors)
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        mine = names[shard::shards]
        save_file({name: tensors[name].contiguous() for name in mine}, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(mine, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "config.json").write_text(json.dumps(llada_config() if config is None else config))
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    return folder
