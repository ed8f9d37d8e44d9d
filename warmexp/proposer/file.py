"""Proposals from a JSONL file: one object per line, {"id": question id, "text": proposed response}."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from warmexp.errors import UserError, check_choice
from warmexp.proposer.proposal import TAILS, Asked, Proposal, Proposer


@dataclass
class FileProposer(Proposer):
    """path: the JSONL file. Where a line gives `tokens` ([[start, end, natural-log probability], …], character offsets in the order of the
    text) and `end` (log-probability of ending there), trust comes from them; without them it is 1.0. tail: see proposal.py."""

    path: str
    tail: str = "mask"

    def __post_init__(self) -> None:
        check_choice("proposer.tail", self.tail, TAILS)

    @cached_property
    def proposals(self) -> dict[str, Proposal]:
        file = Path(self.path).expanduser()
        if not file.is_file():
            raise UserError(f'proposer.path={self.path} does not exist: give a JSONL file with lines {{"id": …, "text": …}}.')
        found: dict[str, Proposal] = {}
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            try:
                raw = json.loads(line)
                proposal = found[str(raw["id"])] = Proposal.from_json({**raw, "text": str(raw["text"])})
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(f'proposer.path={self.path}, line {number} is not {{"id": …, "text": …}} ({error!r}).') from None
            if not _sound(proposal):
                raise UserError(
                    f"proposer.path={self.path}, line {number}: tokens are not [start, end, log-probability ≤ 0] within the text and in"
                    " its order, or end is no log-probability: correct them or leave them out."
                )
        return found

    def identity(self) -> dict[str, Any]:
        digest = hashlib.sha256(json.dumps({k: [v.text, v.tokens, v.end] for k, v in sorted(self.proposals.items())}).encode()).hexdigest()
        return {"kind": "file", "texts": digest[:16]}

    def propose(self, questions: list[Asked], device: str, seed: int, progress) -> Iterator[tuple[str, Proposal]]:
        missing = [q.id for q in questions if q.id not in self.proposals]
        if missing:
            raise UserError(
                f"proposer.path={self.path} has no proposal for {len(missing)} of {len(questions)} questions (for example {missing[0]}):"
                " its ids must be the task's question ids."
            )
        for question in questions:
            yield question.id, self.proposals[question.id]


def _sound(proposal: Proposal) -> bool:
    """Whether spans lie within the text, in its order, and log-probabilities are such."""
    logs = [p for _, _, p in proposal.tokens] + ([] if proposal.end is None else [proposal.end])
    inside = all(0 <= a <= b <= len(proposal.text) for a, b, _ in proposal.tokens)
    ordered = all(x[0] <= y[0] and x[1] <= y[1] for x, y in pairwise(proposal.tokens))
    return inside and ordered and not any(math.isnan(p) or p > 0 for p in logs)
