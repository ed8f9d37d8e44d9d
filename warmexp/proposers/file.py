"""Proposals from a JSONL file: one object per line, {"id": question id, "text": proposed response}."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from warmexp.errors import UserError, check_choice
from warmexp.jsonl import check_once, read_rows
from warmexp.proposers.markup import cleaned, tell_cleaned
from warmexp.proposers.proposal import TAILS, Asked, Proposal, Proposer


@dataclass
class FileProposer(Proposer):
    """path: the JSONL file. Where a line gives `tokens` ([[start, end, natural-log probability], …], character offsets
    in the order of the text) and `end` (log-probability of ending there), trust comes from them; without them it is
    1.0. `likely` has for each token what else its author might have written there ([[text or null, log-probability],
    …]), which init.k mixes. What a chat model writes around its answer is taken out (markup.py). tail: see proposal.py.
    """

    path: str
    tail: str = "mask"

    def __post_init__(self) -> None:
        check_choice("proposer.tail", self.tail, TAILS)

    @cached_property
    def proposals(self) -> dict[str, Proposal]:
        file = Path(self.path).expanduser()
        if not file.exists():
            raise UserError(
                f'proposer.path={self.path} does not exist: give a JSONL file with lines {{"id": …, "text": …}}.'
            )
        rows = list(read_rows(file, f"proposer.path={self.path}"))
        named = [(row.text("id"), row) for row in rows]
        check_once(named, "leave one of them out")
        written = {name: Proposal.from_row(row) for name, row in named}
        found = {name: cleaned(proposal) for name, proposal in written.items()}
        self._cleaned = {name: proposal.text for name, proposal in written.items() if found[name] is not proposal}
        return found

    @property
    def likely(self) -> int:  # type: ignore[override]
        """As many as its file has, which need not be the same number in each place."""
        return 64 if any(some for proposal in self.proposals.values() for some in proposal.likely) else 0

    def identity(self) -> dict[str, Any]:
        written = sorted(self.proposals.items())
        likely = {"likely": _digest({k: v.likely for k, v in written})} if self.likely else {}
        return {"kind": "file", "texts": _digest({k: [v.text, v.tokens, v.end] for k, v in written}), **likely}

    def propose(self, questions: list[Asked], device: str, seed: int, progress) -> Iterator[tuple[str, Proposal]]:
        missing = [q.id for q in questions if q.id not in self.proposals]
        if missing:
            raise UserError(
                f"proposer.path={self.path} has no proposal for {len(missing)} of {len(questions)} questions (for"
                f" example {missing[0]}): its ids must be the task's question ids."
            )
        tell_cleaned(self.say, [self._cleaned[q.id] for q in questions if q.id in self._cleaned])
        for question in questions:
            yield question.id, self.proposals[question.id]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
