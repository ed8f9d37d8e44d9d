"""What else an author might have written: its likeliest tokens in each place, spelled in the backbone's.

Vocabularies differ, so an alternative is text. It says something of a position of the backbone's that begins inside the
author's token, if it is the same text up to there: what follows begins with the token that stands for it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from warmexp.models.tokenizer import BackboneTokenizer
from warmexp.proposers.spans import Span, encoded_spans

# One of the author's likeliest tokens: its text (None: the end of the text) and natural-log probability.
Alternative = tuple[str | None, float]
# Tokens of the backbone's and how probable each is by the author, the likeliest first.
Likely = tuple[tuple[int, float], ...]


def spelled(
    text: str,
    tokens: Sequence[tuple[int, int, float]],
    likely: Sequence[Sequence[Alternative]],
    ids: Sequence[int],
    spans: Sequence[Span],
    tokenizer: BackboneTokenizer,
) -> tuple[Likely, ...]:
    """For each of the n tokens of the backbone's that a proposal is made of, what the author thought might begin there.

    Args:
        tokens, likely: the author's m tokens (start, end, log-probability), and of each the likeliest in its place.
        ids, spans: [n] the proposal in the backbone's vocabulary.
    Returns:
        n times at least the proposal's own token; it alone, with probability 1, where the author said nothing, or
        where it goes on with a character. The probabilities of tokens that begin alike are added up.
    """
    found, done = [], 0
    for i, span in zip(ids, spans, strict=True):
        goes_on = span[0] < done  # with a character of which the token before holds a part: no text begins here
        found.append(((i, 1.0),) if goes_on else _at(text, tokens, likely, i, span, tokenizer))
        done = span[1]
    return tuple(found)


def rewritten(alternatives: Sequence[Alternative], before: str, after: str) -> tuple[Alternative, ...]:
    """What a token wrote was cut: so is its own text among what it might have been."""
    return tuple((after if text == before else text, p) for text, p in alternatives)


def _at(
    text: str,
    tokens: Sequence[tuple[int, int, float]],
    likely: Sequence[Sequence[Alternative]],
    own: int,
    span: Span,
    tokenizer: BackboneTokenizer,
) -> Likely:
    at, past = span
    # The first that holds this character: of several that hold parts of it, the others say how it goes on, not what
    # else might begin here. Where it is nobody's, such as a space that was put before a response, the next.
    j = bisect_right(tokens, at, key=_end)
    while j < len(tokens) and tokens[j][0] == tokens[j][1]:
        j += 1
    if j == len(tokens) or tokens[j][0] >= past:
        return ((own, 1.0),)
    start, end, logp = tokens[j]
    written, before, lead = text[start:end], text[start:at], text[at:start]
    found = {own: math.exp(min(0.0, logp))}
    for other, p in likely[j]:
        if other == written:
            continue
        if other is None:
            token = None if before else tokenizer.eos_id
        elif other.startswith(before) and len(other) > len(before):
            token = _begins(text[:at], lead + other[len(before) :], tokenizer)
        else:
            continue
        if token is not None:
            found[token] = found.get(token, 0.0) + math.exp(min(0.0, p))
    return tuple(sorted(found.items(), key=lambda one: -one[1]))


def _begins(before: str, text: str, tokenizer: BackboneTokenizer) -> int | None:
    """The token with which a text begins behind another, None where it goes on with one of the other's."""
    ids, spans = encoded_spans(tokenizer, before + text)
    return next((i for i, (start, _) in zip(ids, spans, strict=True) if start == len(before)), None)


def _end(token: tuple[int, int, float]) -> int:
    return token[1]
