"""Character spans: the one thing that two vocabularies have in common.

A proposer's tokens and the backbone's tokens are laid over the same text, and what the author knew about a stretch of
it is carried from the one to the other. Spans are half-open [start, end) in characters of the text. Tokens that each
hold a part of one character (bytes of it) all have that whole character as their span.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import NamedTuple

from warmexp.models.tokenizer import BackboneTokenizer

Span = tuple[int, int]


def decoded_spans(
    ids: Sequence[int], decode: Callable[[list[int]], str], before: Sequence[int] = ()
) -> tuple[str, list[Span]]:
    """Text that `ids` stand for and the span of each of them in it, from growing prefixes, so for every kind of
    tokenizer.

    Args:
        ids: [n] tokens that a model wrote.
        decode: ids to text, without special tokens and without cleaning up.
        before: the tokens in front of them. A sentencepiece decoder drops the space at the very beginning of what it is
            given, so a response has its own leading space only if something stands before it.
    Returns:
        the text and n spans with non-decreasing starts and ends. A token that decodes to nothing has an empty span.
    """
    before, ids = list(before), list(ids)
    head = decode(before) if before else ""
    whole = decode(before + ids)
    if not whole.startswith(head):  # no common beginning to cut off: the text without its surroundings
        before, head = [], ""
        whole = decode(ids)
    text = whole[len(head) :]
    spans, done = [], 0  # done: characters that are complete
    for i in range(1, len(ids) + 1):
        seen = decode(before + ids[:i])[len(head) :]
        common = (
            len(seen)
            if text.startswith(seen)
            else sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(seen, text, strict=False)))
        )
        # What differs from the text at the end of a prefix is a character of which only some bytes are there yet. A
        # decoder may then spoil complete characters before it too, hence the maximum.
        complete = max(done, common)
        spans.append((done, min(complete + (len(seen) > common), len(text))))
        done = complete
    return text, spans


def encoded_spans(tokenizer: BackboneTokenizer, text: str) -> tuple[list[int], list[Span]]:
    """Ids of a text in the backbone's vocabulary (those of `BackboneTokenizer.encode`) and the span of each of them.

    The spans cover the text without a gap: what a tokenizer's normaliser drops belongs to the token that follows (at
    the end of the text to the last).
    """
    inner = tokenizer.tokenizer
    inner.encode_special_tokens = True
    # A post-processor has nothing to add here, but GPT-2's takes the white space out of the offsets.
    processor, inner.post_processor = inner.post_processor, None
    try:
        encoding = inner.encode(text, add_special_tokens=False)
    finally:
        inner.post_processor = processor
    kept = [(i, span) for i, span in zip(encoding.ids, encoding.offsets, strict=True) if i not in tokenizer.special_ids]
    spans: list[Span] = []
    for _, (start, end) in kept:
        last = spans[-1][1] if spans else 0
        spans.append((min(start, last), max(end, last)))
    if spans:
        spans[-1] = (spans[-1][0], len(text))
    return [i for i, _ in kept], spans


class Carried(NamedTuple):
    """What an author's tokens say about n spans.

    logp: [n] sums of the natural-log probabilities of the author's tokens that overlap the span.
    trust: [n] the smallest of their probabilities, in [0, 1].
    straddles: [n] whether the span starts or ends inside one of them, or holds only a part of a character.
    """

    logp: list[float]
    trust: list[float]
    straddles: list[bool]


def carry(tokens: Sequence[tuple[int, int, float]], spans: Sequence[Span]) -> Carried:
    """Lay the author's tokens (start, end, log-probability) over the spans; both in the order of the text.

    Where the author said nothing, the sum is the empty one (0.0) and so is the minimum (1.0): a text without
    probabilities is taken at its word. Sums add up over any stretch of text in which no span straddles; a token under
    two spans counts in both.
    """
    starts, ends = [t[0] for t in tokens], [t[1] for t in tokens]
    logp, trust, straddles = [], [], []
    for k, (start, end) in enumerate(spans):
        first, past = (
            bisect_right(ends, start),
            bisect_left(starts, end),
        )  # tokens that end after its start and start before its end
        under = [tokens[i][2] for i in range(first, past)]
        logp.append(math.fsum(under))
        trust.append(min(1.0, math.exp(min(under, default=0.0))))
        shared = (k > 0 and spans[k - 1][1] > start) or (k + 1 < len(spans) and spans[k + 1][0] < end)
        straddles.append(past > first and (starts[first] < start or ends[past - 1] > end or shared))
    return Carried(logp, trust, straddles)
