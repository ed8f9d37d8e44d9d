"""A proposer's tokenizer as generation needs it: of what its files keep from a training, only how text becomes tokens
is taken."""

from __future__ import annotations

from typing import Any

from warmexp.models.tokenizer_files import without_sampling


def as_at_inference(tokenizer: Any) -> Any:
    """The same transformers tokenizer with one encoding per text (no BPE dropout) that recognises the special tokens of
    a template.

    Truncation and padding of tokenizer.json are set by transformers at every call.
    """
    tokenizer.split_special_tokens = False
    if getattr(tokenizer, "backend_tokenizer", None) is not None:
        without_sampling(tokenizer.backend_tokenizer)
    return tokenizer


def prompt_ids(tokenizer: Any, text: str, special: bool) -> list[int]:
    """Ids of a prompt that a response follows.

    special: add the special tokens with which the tokenizer begins a text. What it would add at the end (an end-of-text
    token, behind which a model begins something else) is left out.
    """
    plain = tokenizer(text, add_special_tokens=False)["input_ids"]
    if not special:
        return plain
    whole = tokenizer(text, add_special_tokens=True)["input_ids"]
    n = len(plain)
    for start in range(len(whole) - n + 1):
        if n and whole[start : start + n] == plain:
            return whole[: start + n]
    while whole and whole[-1] == tokenizer.eos_token_id:
        whole = whole[:-1]
    return whole
