"""What an OpenAI-compatible server answers, read as a proposal: its text, and its log-probabilities laid over it.

Servers differ in the shape of their log-probabilities, in whether a token's text keeps its first space, in whether the
end of the text is one of the tokens, and in what white space they cut off. What cannot be laid over the text without
doubt is left out: a proposal without probabilities is taken at its word (trust 1.0), and that is said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from warmexp.proposers.proposal import Proposal

_REPLACED = "\ufffd".encode()  # what a server writes for a token that holds only a part of a character
_CHARACTER = 4  # bytes of a character, at most


class Nonsense(ValueError):
    """An answer that is no completion; what it is instead, as the end of a sentence."""


@dataclass(frozen=True)
class Answer:
    """text: the response. tokens: (bytes, natural-log probability) in order, None where the server gives none.

    ended: whether the model ended the text itself or a stop string did, rather than a limit. thought: whether a thought
    was kept apart from the text. model: what the server calls its model.
    """

    text: str
    tokens: list[tuple[bytes, float]] | None
    ended: bool
    thought: bool
    model: str | None


def read_answer(payload: Any, chat: bool) -> Answer:
    """The first choice of a chat completion, or of a plain one.

    Raises:
        Nonsense: there is none.
    """
    choices = payload.get("choices") if isinstance(payload, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        raise Nonsense("has no choices")
    said = choice.get("message") if chat else choice
    if not isinstance(said, dict):
        raise Nonsense("has no message")
    text = said.get("content" if chat else "text")
    thought = any(isinstance(said.get(key), str) and said[key] for key in ("reasoning_content", "reasoning"))
    if text is None and (thought or chat):
        text = ""  # a model that has said nothing, or nothing but a thought
    if not isinstance(text, str):
        raise Nonsense("has no text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Nonsense("holds half of a character") from None
    model = payload.get("model")
    return Answer(
        text,
        _tokens(choice.get("logprobs")),
        choice.get("finish_reason") in ("stop", "eos_token"),
        thought,
        model if isinstance(model, str) else None,
    )


def _tokens(given: Any) -> list[tuple[bytes, float]] | None:
    """From `content` (chat completions; llama.cpp's plain ones too), or from `tokens` and `token_logprobs`."""
    if not isinstance(given, dict):
        return None
    if isinstance(content := given.get("content"), list):
        rows = [(one.get("token"), one.get("logprob"), one.get("bytes")) for one in content if isinstance(one, dict)]
    elif isinstance(words := given.get("tokens"), list) and isinstance(given.get("token_logprobs"), list):
        rows = [(word, logp, None) for word, logp in zip(words, given["token_logprobs"], strict=False)]
    else:
        return None
    found = []
    for token, logp, raw in rows:
        if not isinstance(token, str) or isinstance(logp, bool) or not isinstance(logp, (int, float)):
            return None
        if math.isnan(logp) or math.isinf(logp):
            return None
        found.append((_bytes(token, raw), round(min(float(logp), 0.0), 6)))
    return found or None


def _bytes(token: str, raw: Any) -> bytes:
    whole = isinstance(raw, list) and all(isinstance(b, int) and 0 <= b < 256 for b in raw)
    return bytes(raw) if whole and raw else token.encode("utf-8", "replace")


def proposal_of(answer: Answer, stop: Sequence[str], seconds: float) -> tuple[Proposal, bool]:
    """The proposal, cut at the first stop string, and whether the server's log-probabilities are in it."""
    text = answer.text
    stop = [s for s in stop if s]  # an empty one stops nothing
    cut = min((text.find(s) for s in stop if s in text), default=len(text))
    laid = None if answer.tokens is None else lay(text, answer.tokens)
    if laid is None:
        return Proposal(text[:cut], (), seconds), False
    spans, rest = laid
    tokens = tuple((a, min(b, cut), p) for a, b, p in spans if a < cut)
    return Proposal(text[:cut], tokens, seconds, _end(answer, rest, stop, cut)), True


def _end(answer: Answer, rest: Sequence[tuple[bytes, float]], stop: Sequence[str], cut: int) -> float | None:
    """Log-probability of the end token, where the model wrote one and the server shows it: the one token left over."""
    behind = answer.text[-64:] + b"".join(piece for piece, _ in rest).decode("utf-8", "replace")
    stopped = cut < len(answer.text) or any(s in behind for s in stop)
    return rest[0][1] if answer.ended and len(rest) == 1 and not stopped else None


def lay(
    text: str, tokens: Sequence[tuple[bytes, float]]
) -> tuple[list[tuple[int, int, float]], list[tuple[bytes, float]]] | None:
    """Tokens over the text they spell.

    Returns:
        (start, end, log-probability) in characters, in order; and the tokens behind the end of the text. None where the
        tokens do not spell this text.
    """
    data = text.encode()
    spans: list[tuple[int, int, float]] = []  # in bytes
    at, waiting = 0, []  # waiting: tokens whose bytes are not known, until one that is

    def fill(end: int) -> bool:
        """Whether the waiting tokens can stand for what lies between, which they then do together."""
        if end - at > _CHARACTER * len(waiting) or (end == at and waiting):
            return False
        spans.extend((at, end, logp) for logp in waiting)
        waiting.clear()
        return True

    rest: list[tuple[bytes, float]] = []
    for piece, logp in tokens:
        if at == len(data) and not waiting:
            rest.append((piece, logp))
            continue
        if _REPLACED in piece and not data.startswith(piece, at):
            waiting.append(logp)
            continue
        if waiting:
            found = data.find(piece, at + 1, at + _CHARACTER * len(waiting) + len(piece)) if piece else -1
            if found < 0:
                if not fill(len(data)):
                    return None
                at = len(data)
                rest.append((piece, logp))
                continue
            fill(found)
            at = found
        end = _past(data, at, piece)
        if end is None:
            return None
        if end > at:
            spans.append((at, end, logp))
            at = end
    if waiting:
        if not fill(len(data)):
            return None
        at = len(data)
    if data[at:].strip():
        return None
    owner = [i for i, character in enumerate(text) for _ in character.encode()]  # the character of each byte
    placed = [(owner[a], owner[b - 1] + 1, logp) for a, b, logp in spans]
    while rest and not rest[0][0].strip() and rest[0][0]:  # white space that the server has cut off
        rest.pop(0)
    return placed, rest


def _past(data: bytes, at: int, piece: bytes) -> int | None:
    """Where a token ends that begins here; None where it does not. A first space may be missing on either side, white
    space at either end of the text may have been cut off."""
    if data.startswith(piece, at):
        return at + len(piece)
    bare, rest = piece.lstrip(), data[at:]
    begin = at + len(rest) - len(rest.lstrip())
    if not bare:
        return at if at == 0 else None
    if begin - at <= 1 and data.startswith(bare, begin) and (at == 0 or len(bare) == len(piece)):
        return begin + len(bare)
    bare = piece.rstrip()
    return len(data) if bare and rest == bare else None
