"""Small backbones in LLaDA's and Dream's published layouts, written from the lists of published names."""

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


def llada_tensors(
    d: int = 16, layers: int = 2, mlp: int = 32, rows: int = 264, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Random weights under LLaDA's published key names, written out from the list of names (not from our own
    module)."""
    g = torch.Generator().manual_seed(seed)

    def matrix(out: int, inner: int) -> torch.Tensor:
        return torch.randn(out, inner, generator=g) / inner**0.5

    def norm() -> torch.Tensor:
        return 1 + 0.2 * torch.randn(d, generator=g)

    tensors = {
        "model.transformer.wte.weight": torch.randn(rows, d, generator=g),
        "model.transformer.ff_out.weight": 3 * matrix(rows, d),
    }
    tensors["model.transformer.ln_f.weight"] = norm()
    for n in range(layers):
        block = f"model.transformer.blocks.{n}."
        for name in ("attn_norm", "ff_norm"):
            tensors[f"{block}{name}.weight"] = norm()
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


def dream_tensors(
    d: int = 16,
    layers: int = 2,
    mlp: int = 32,
    rows: int = 264,
    heads: int = 4,
    kv_heads: int = 2,
    tied: bool = False,
    seed: int = 0,
) -> dict[str, torch.Tensor]:
    """Random weights under Dream's published key names (Qwen2's: biases on queries, keys and values, fewer key-value
    heads)."""
    g = torch.Generator().manual_seed(seed)
    kv = d // heads * kv_heads

    def matrix(out: int, inner: int) -> torch.Tensor:
        return torch.randn(out, inner, generator=g) / inner**0.5

    def vector(size: int, mean: float) -> torch.Tensor:
        return mean + 0.2 * torch.randn(size, generator=g)

    tensors = {"model.embed_tokens.weight": torch.randn(rows, d, generator=g), "model.norm.weight": vector(d, 1)}
    if not tied:
        tensors["lm_head.weight"] = 3 * matrix(rows, d)
    for n in range(layers):
        tensors |= {
            f"model.layers.{n}.input_layernorm.weight": vector(d, 1),
            f"model.layers.{n}.self_attn.q_proj.weight": matrix(d, d),
            f"model.layers.{n}.self_attn.q_proj.bias": vector(d, 0),
            f"model.layers.{n}.self_attn.k_proj.weight": matrix(kv, d),
            f"model.layers.{n}.self_attn.k_proj.bias": vector(kv, 0),
            f"model.layers.{n}.self_attn.v_proj.weight": matrix(kv, d),
            f"model.layers.{n}.self_attn.v_proj.bias": vector(kv, 0),
            f"model.layers.{n}.self_attn.o_proj.weight": matrix(d, d),
            f"model.layers.{n}.post_attention_layernorm.weight": vector(d, 1),
            f"model.layers.{n}.mlp.gate_proj.weight": matrix(mlp, d),
            f"model.layers.{n}.mlp.up_proj.weight": matrix(mlp, d),
            f"model.layers.{n}.mlp.down_proj.weight": matrix(d, mlp),
        }
    return tensors


def dream_config(
    d: int = 16, layers: int = 2, mlp: int = 32, rows: int = 264, heads: int = 4, kv_heads: int = 2
) -> dict:
    """A config.json with the fields Dream publishes."""
    return {
        "architectures": ["DreamModel"],
        "auto_map": {"AutoConfig": "configuration_dream.DreamConfig", "AutoModel": "modeling_dream.DreamModel"},
        "model_type": "Dream",
        "attention_dropout": 0.0,
        "bos_token_id": EOS,
        "eos_token_id": EOS,
        "pad_token_id": EOS,
        "mask_token_id": MASK,
        "hidden_act": "silu",
        "hidden_size": d,
        "initializer_range": 0.02,
        "intermediate_size": mlp,
        "max_position_embeddings": 131072,
        "max_window_layers": layers,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": kv_heads,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 1000000.0,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": rows,
    }


DREAM_SPECIAL = {"<|endoftext|>": EOS, "<|mask|>": MASK, "<|im_end|>": EOT}


def write_qwen2_files(
    folder: Path, special: dict[str, int], merges: list[tuple[str, str]] | None = None, plain: tuple = ()
) -> None:
    """vocab.json, merges.txt and tokenizer_config.json as Qwen2 and Dream publish them; no tokenizer.json.

    special: added token -> id; plain: the ones among them that are not special (Qwen2.5's <tool_call>, for one).
    """
    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in merges or [])]
    vocab = {word: i for i, word in enumerate(dict.fromkeys(words))}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges or [])]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    flags = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
    added = {str(i): {"content": name, **flags, "special": name not in plain} for name, i in special.items()}
    config = {
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "auto_map": {"AutoTokenizer": ["tokenization_dream.DreamTokenizer", None]},
        "errors": "replace",
        "tokenizer_class": "DreamTokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def write_dream(folder: Path, tensors: dict[str, torch.Tensor] | None = None, config: dict | None = None) -> Path:
    """A folder in Dream's published layout, with Qwen2's tokenizer files."""
    write_weights(folder, dream_tensors() if tensors is None else tensors, dream_config() if config is None else config)
    write_qwen2_files(folder, DREAM_SPECIAL)
    return folder


def write_checkpoint(
    folder: Path, tensors: dict[str, torch.Tensor] | None = None, config: dict | None = None, shards: int = 2
) -> Path:
    """A folder in LLaDA's published layout: config.json, sharded safetensors with an index, tokenizer.json."""
    write_weights(
        folder, llada_tensors() if tensors is None else tensors, llada_config() if config is None else config, shards
    )
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def write_weights(folder: Path, tensors: dict[str, torch.Tensor], config: dict, shards: int = 2) -> None:
    """config.json and sharded safetensors with an index."""
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(tensors)
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        mine = names[shard::shards]
        save_file({name: tensors[name].contiguous() for name in mine}, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(mine, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "config.json").write_text(json.dumps(config))
