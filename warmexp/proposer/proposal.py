"""A proposal: text, and what its author knew about it.

It arrives as text because proposer and backbone have different vocabularies: an id of one means nothing in the other. It is re-encoded
with the backbone's tokenizer, slot for slot from the first response position, exactly once and here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

from warmexp.backbone.tokenizer import BackboneTokenizer
from warmexp.errors import check_choice

TAILS = ("mask", "eos")


@dataclass(frozen=True)
class Proposal:
    """text: the proposed response, cut at the proposer's stop strings.

    tokens: the proposer's own tokens as (first character, past-the-end character, natural-log probability), empty where unknown.
    seconds: what writing it took (its share of the batch), kept with it so that stored proposals are not reported as free.
    """

    text: str
    tokens: tuple[tuple[int, int, float], ...] = ()
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Proposal:
        return cls(raw["text"], tuple((int(a), int(b), float(p)) for a, b, p in raw.get("tokens", ())), float(raw.get("seconds", 0.0)))


@dataclass(frozen=True)
class Encoded:
    """A proposal in the backbone's vocabulary: at most canvas_length ids; `cut` says that it was longer."""

    ids: tuple[int, ...]
    cut: bool


def encode(proposal: Proposal, tokenizer: BackboneTokenizer, canvas_length: int, tail: str) -> Encoded:
    """Re-encode a proposal for a canvas.

    tail: what follows its end: `mask` leaves masks (the paper), `eos` proposes end-of-text up to the end of the canvas. Special tokens
    spelled out in the text are encoded as text, so the only special token that can be proposed is this end-of-text.
    """
    check_choice("proposer.tail", tail, TAILS)
    ids = tokenizer.encode(proposal.text)
    cut = len(ids) > canvas_length
    ids = ids[:canvas_length]
    if tail == "eos":
        ids += [tokenizer.eos_id] * (canvas_length - len(ids))
    return Encoded(tuple(ids), cut)


@dataclass(frozen=True)
class Asked:
    """A question as a proposer sees it. `solution` is the reference solution; only an oracle may look at it."""

    id: str
    prompt: str
    solution: str


class Proposer(Protocol):
    oracle: bool  # whether it has seen the reference solution; such runs are labelled and kept off fronts
    stored: bool  # whether its proposals cost enough to be kept in the store
    tail: str

    def identity(self) -> dict[str, Any]:
        """What of it changes a proposal (checks its files; loads no weights)."""

    def propose(self, questions: list[Asked], device: str, seed: int, progress) -> Any:
        """Yield (question id, Proposal), in any order. `progress(done, total)` may be called."""
