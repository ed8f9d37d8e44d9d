"""From a finished canvas to the texts that are scored: two readings of the same tokens, which differ only behind the
first end token.

The *response* ends at the first end token (end of text, end of turn) and at the first stop string. This is what
lm-evaluation-harness scores for its own models, whose generation ends there, and what the main scores (`strict`,
`flexible`) read: a backbone that has said it is done has answered.

The *uncut* text keeps what was decoded behind an end token, up to a stop string. A canvas has positions behind the end,
and an evaluation that hands the harness the whole canvas without its special tokens (Fast-dLLM's `eval_llada.py`, and
so very probably arXiv 2512.19004) scores this; the third pair of scores (`strict_uncut`, `flexible_uncut`) does too.
Where the two pairs differ, a filter read something that the backbone did not mean as its answer, such as an injected
token behind the end.
"""

from __future__ import annotations

from collections.abc import Sequence

from warmexp.models.tokenizer import BackboneTokenizer


def cut(text: str, stop: Sequence[str]) -> str:
    """Text before the first of the stop strings (empty ones stop nothing)."""
    return text[: min((text.find(s) for s in stop if s and s in text), default=len(text))]


def response_text(tokenizer: BackboneTokenizer, ids: Sequence[int], stop: Sequence[str]) -> str:
    """The text before the first end token and the first stop string."""
    return cut(tokenizer.decode(tokenizer.until_end(ids)), stop)


def uncut_text(tokenizer: BackboneTokenizer, ids: Sequence[int], stop: Sequence[str]) -> str:
    """The text of the whole canvas before the first stop string, special tokens left out.

    A stop string that is one of the vocabulary's tokens (`<|im_end|>` where that is the end of a turn) stops at that
    token: the harness looks for it in text that still holds the special tokens.
    """
    stops = {tokenizer.tokenizer.token_to_id(s) for s in stop} - {None}
    end = next((i for i, token in enumerate(ids) if token in stops), len(ids))
    return cut(tokenizer.decode(list(ids[:end])), stop)
