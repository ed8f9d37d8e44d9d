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
from warmexp.proposer.proposal import TAILS, Asked, Proposal


@dataclass
class FileProposer:
    """path: the JSONL file. `tokens` ([[start, end, log-probability], …], character offsets) is read where given. tail: see proposal.py."""

    path: str
    tail: str = "mask"
    oracle = False
    stored = False

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
                found[str(raw["id"])] = Proposal.from_json({**raw, "text": str(raw["text"])})
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f'proposer.path={self.path}, line {number} is not {{"id": …, "text": …}} ({error!r}).') from None
        return found

    def identity(self) -> dict[str, Any]:
        digest = hashlib.sha256(json.dumps({k: v.text for k, v in sorted(self.proposals.items())}).encode()).hexdigest()
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
