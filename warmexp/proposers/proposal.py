"""A proposal: text, and what its author knew about it.

It arrives as text because proposer and backbone have different vocabularies: an id of one means nothing in the other.
It is re-encoded with the backbone's tokenizer, slot for slot from the first response position, exactly once and here,
and what its author knew goes with it through character spans (spans.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

from warmexp.errors import UserError, check_choice
from warmexp.jsonl import Row
from warmexp.models.tokenizer import BackboneTokenizer
from warmexp.proposers.calibration import Calibration, read_calibration
from warmexp.proposers.likely import Alternative, Likely, spelled
from warmexp.proposers.spans import carry, encoded_spans

TAILS = ("mask", "eos")


@dataclass(frozen=True)
class Proposal:
    """text: the proposed response, cut at the proposer's stop strings and before its end token.

    tokens: the proposer's own tokens as (first character, past-the-end character, natural-log probability) in the order
    of the text, empty where unknown. seconds: what writing it took (its share of the batch), kept with it so that
    stored proposals are not reported as free. end: natural-log probability of the end token that the author wrote after
    the text; None where it wrote none or is silent. likely: of each token, the likeliest in its place as (text, or None
    for the end of the text, natural-log probability), itself among them; empty where unknown.
    """

    text: str
    tokens: tuple[tuple[int, int, float], ...] = ()
    seconds: float = 0.0
    end: float | None = None
    likely: tuple[tuple[Alternative, ...], ...] = ()

    def to_json(self) -> dict[str, Any]:
        found = asdict(self)
        return found if self.likely else {name: value for name, value in found.items() if name != "likely"}

    @classmethod
    def from_row(cls, row: Row) -> Proposal:
        """What `to_json` wrote, or somebody else did.

        Raises:
            UserError: no text; tokens that do not lie in it, in its order, with log-probabilities ≤ 0; an `end` that is
            none.
        """
        text, raw = row.text("text"), row.values
        spans = raw.get("tokens") or []
        triples = isinstance(spans, (list, tuple)) and all(isinstance(s, (list, tuple)) and len(s) == 3 for s in spans)
        whole = triples and all(isinstance(at, int) and not isinstance(at, bool) for s in spans for at in s[:2])
        tokens = tuple((a, b, row.number("tokens", p)) for a, b, p in spans) if whole else ()
        end = None if raw.get("end") is None else row.number("end", raw["end"])
        seconds = row.number("seconds", raw.get("seconds", 0.0))
        inside = whole and all(0 <= a <= b <= len(text) for a, b, _ in tokens)
        ordered = all(x[0] <= y[0] and x[1] <= y[1] for x, y in pairwise(tokens))
        if not inside or not ordered or any(p > 0 for *_, p in tokens) or (end or 0) > 0 or seconds < 0:
            raise UserError(
                f"{row.where}: tokens are not [start, end, log-probability ≤ 0] within the text and in its order, or"
                " end is no log-probability, or seconds are negative: correct them or leave them out."
            )
        return cls(text, tokens, seconds, end, _likely(row, len(tokens)))


def _likely(row: Row, count: int) -> tuple[tuple[Alternative, ...], ...]:
    """The alternatives of `count` tokens, or none.

    Raises:
        UserError: others than [text or null, log-probability ≤ 0].
    """
    found = row.values.get("likely")
    found = [] if found is None else found
    lists = isinstance(found, (list, tuple)) and all(isinstance(some, (list, tuple)) for some in found)
    pairs = [pair for some in found for pair in some] if lists else []
    good = all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 and (pair[0] is None or isinstance(pair[0], str))
        for pair in pairs
    )
    if not lists or not good or len(found) not in (0, count):
        raise UserError(
            f"{row.where}: likely is not a list of [text or null, log-probability ≤ 0] for each of the {count} tokens:"
            " correct it or leave it out."
        )
    made = tuple(tuple((text, row.number("likely", p)) for text, p in some) for some in found)
    if any(p > 0 for some in made for _, p in some):
        raise UserError(f"{row.where}: likely has a log-probability above 0: correct it or leave it out.")
    return made


@dataclass(frozen=True)
class Encoded:
    """A proposal in the backbone's vocabulary: n ≤ canvas_length ids; `cut` says that it was longer.

    trust: [n] in [0, 1], the smallest probability of the author's tokens under each id (raw, not calibrated); 1.0 where
    the author said nothing (a file without tokens, an oracle, a retrieved solution). logp: [n] ≤ 0, the sum of their
    natural-log probabilities; 0.0 where the author said nothing. straddles: [n], whether the id's span starts or ends
    inside one of the author's tokens, so that no probability of the author is about exactly this piece of text.
    written: how many ids are the text's; the rest is an `eos` tail. likely: [n] what the author thought might begin at
    each (likely.py); empty where it said nothing of that.

    What Proposer.judge adds: numeric: [n], whether a token's text holds a digit. calibrated: [n] in [0, 1], the trust
    after a fitted map; None without one.
    """

    ids: tuple[int, ...]
    cut: bool
    trust: tuple[float, ...]
    logp: tuple[float, ...]
    straddles: tuple[bool, ...]
    written: int
    numeric: tuple[bool, ...] = ()
    calibrated: tuple[float, ...] | None = None
    likely: tuple[Likely, ...] = ()


def fit(proposal: Proposal, prompt: str, tokenizer: BackboneTokenizer) -> Proposal:
    """A proposal as it would stand behind the backbone's prompt: its first space follows the backbone's habit, not the
    author's.

    A base model goes on after "Answer:" with " Tom", an instruct model starts a turn with "Tom", a reference solution
    has no space either, and "Tom" and " Tom" are different tokens. Behind white space or a special token (a turn's
    header) a response starts without spaces, behind anything else with white space. Spans move along; a space that is
    added has no author.
    """
    tail = tokenizer.template.split("{prompt}")[1]
    special = [token.content for token in tokenizer.tokenizer.get_added_tokens_decoder().values() if token.special]
    before = tail or prompt
    text = proposal.text
    if not text or not before:
        return proposal
    if before[-1].isspace() or any(tail.endswith(token) for token in special):
        shift = len(text.lstrip(" ")) - len(text)
    else:
        shift = 0 if text[0].isspace() else 1
    if shift == 0:
        return proposal
    stay = [i for i, (_, b, _) in enumerate(proposal.tokens) if b + shift > 0]
    moved = tuple((max(0, a + shift), b + shift, p) for a, b, p in (proposal.tokens[i] for i in stay))
    likely = tuple(proposal.likely[i] for i in stay) if proposal.likely else ()
    if likely and shift < 0 and (gone := max(0, -shift - proposal.tokens[stay[0]][0])):
        first = [(t[gone:] if t and not t[:gone].strip(" ") else t, p) for t, p in likely[0]]
        likely = (tuple(first), *likely[1:])
    return replace(proposal, text=" " + text if shift > 0 else text[-shift:], tokens=moved, likely=likely)


def encode(proposal: Proposal, tokenizer: BackboneTokenizer, canvas_length: int, tail: str) -> Encoded:
    """Re-encode a proposal for a canvas.

    tail: what follows its end: `mask` leaves masks (the paper), `eos` proposes end-of-text up to the end of the canvas.
    Special tokens spelled out in the text are encoded as text, so the only special token that can be proposed is this
    end-of-text: whatever token the author ends with (end of text, end of turn), it becomes the backbone's end-of-text
    or nothing.
    """
    ids, spans = encoded_spans(tokenizer, proposal.text)
    logp, trust, straddles = carry(proposal.tokens, spans)
    made = lay_out(ids, logp, trust, straddles, proposal.end, canvas_length, tail, tokenizer.eos_id)
    if not proposal.likely:
        return made
    n = made.written
    found = spelled(proposal.text, proposal.tokens, proposal.likely, ids[:n], spans[:n], tokenizer)
    return replace(made, likely=(*found, *[((tokenizer.eos_id, 1.0),)] * (len(made.ids) - n)))


def lay_out(
    ids: Sequence[int], logp: Sequence[float], trust: Sequence[float], straddles: Sequence[bool], end: float | None,
    canvas_length: int, tail: str, eos_id: int,
) -> Encoded:  # fmt: skip
    """Cut a proposal's ids (and the three lists of the same length) to a canvas, and fill its tail as chosen.

    Every position of an `eos` tail is as trustworthy as the end that the author wrote; its log-probability counts once.
    """
    check_choice("proposer.tail", tail, TAILS)
    n = min(len(ids), canvas_length)
    rest = canvas_length - n if tail == "eos" else 0
    ending = 0.0 if end is None else end
    return Encoded(
        ids=(*ids[:n], *[eos_id] * rest),
        cut=len(ids) > canvas_length,
        trust=(*trust[:n], *[min(1.0, math.exp(ending))] * rest),
        logp=(*logp[:n], *([ending, *[0.0] * (rest - 1)] if rest else [])),
        straddles=(*straddles[:n], *[False] * rest),
        written=n,
    )


@dataclass(frozen=True)
class Asked:
    """A question as a proposer sees it. `solution` is the reference solution; only an oracle may look at it. `question`
    is the bare question without the prompt around it, empty where a task does not give it. `turns`: see TaskQuestion;
    `prompt` says the same."""

    id: str
    prompt: str
    solution: str
    question: str = ""
    turns: tuple[str, ...] = ()


@dataclass
class Proposer:
    """Where proposals come from. Options are dataclasses derived from this; the attributes below are what most of them
    need.

    proposes: whether it makes any. oracle: whether it has seen the reference solution; such runs are labelled and kept
    off fronts.
    stored: whether its proposals cost enough to be kept in the store.
    from_backbone: whether the backbone writes them: then it is loaded first and `draft` is called, batch by batch,
    instead of `propose`.
    resident: whether its model stays in memory after proposing, beside the backbone.
    tail: what follows a proposal on the canvas (`encode`).
    likely: how many of the likeliest tokens it may tell in each place.
    say: where a sentence for the user goes.
    calibration: a file of `python -m warmexp.calibrate`, through which every trust goes; None leaves it raw.
    """

    calibration: str | None = field(default=None, kw_only=True)

    proposes = True
    oracle = False
    stored = False
    from_backbone = False
    resident = False
    tail = "mask"
    likely = 0
    say = staticmethod(print)

    def bind(self, backbone, canvas_length: int, task) -> None:
        """Told once, while the configuration is checked, what it will propose for: an unloaded checkpoint, the canvas,
        the task."""

    @cached_property
    def calibrator(self) -> Calibration | None:
        """The fitted map. Raises UserError where the file is missing or not one."""
        return None if self.calibration is None else read_calibration(self.calibration)

    def judge(self, encoded: Encoded, tokenizer: BackboneTokenizer) -> Encoded:
        """The same with what the tokens' texts and the fitted map say."""
        numeric = tuple(any(c.isdigit() for c in tokenizer.piece(i)) for i in encoded.ids)
        calibrated = self.calibrator and self.calibrator(encoded.trust, numeric, encoded.written)
        return replace(encoded, numeric=numeric, calibrated=calibrated)

    def identity(self) -> dict[str, Any]:
        """What of it changes a proposal (checks its files; loads no weights)."""
        raise NotImplementedError

    def propose(self, questions: list[Asked], device: str, seed: int, progress) -> Any:
        """Yield (question id, Proposal), in any order. `progress(done, total)` may be called."""
        raise NotImplementedError

    def draft(self, meter, questions, tokenizer) -> Any:
        """Where `from_backbone`: question id -> (Proposal, Encoded) for a batch of decode.canvas.Question."""
        raise NotImplementedError
