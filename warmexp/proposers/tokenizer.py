"""A proposer's tokenizer as generation needs it: of what its files keep from a training, only how text becomes tokens is taken."""

from __future__ import annotations

from typing import Any

from warmexp.models.tokenizer_files import without_sampling


def as_at_inference(tokenizer: Any) -> Any:
    """The same transformers tokenizer with one encoding per text (no BPE dropout) that recognises the special tokens of a template.

    Truncation and padding of tokenizer.json are set by transformers at every call.
    """
    tokenizer.split_special_tokens = False
    if getattr(tokenizer, "backend_tokenizer", None) is not None:
        without_sampling(tokenizer.backend_tokenizer)
    return tokenizer


def encoded_prompts(tokenizer: Any, prompts: list[str], beginning: bool) -> Any:
    """Prompts as a batch, padded on the left.

    beginning: put in front what the tokenizer puts there by itself (the beginning of text). What it appends is for training: after an
    end token there is nothing to go on with.
    Returns:
        input_ids and attention_mask, [B, T] long.
    """
    inputs = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=beginning)
    until = inputs["input_ids"].shape[1] - (_appended(tokenizer) if beginning else 0)
    for name in ("input_ids", "attention_mask"):
        inputs[name] = inputs[name][:, :until]
    return inputs


def _appended(tokenizer: Any) -> int:
    """How many tokens it puts behind a text."""
    whole, text = tokenizer("a")["input_ids"], tokenizer("a", add_special_tokens=False)["input_ids"]
    starts = [i for i in range(len(whole)) if whole[i : i + len(text)] == text]
    return len(whole) - starts[0] - len(text) if starts else 0
