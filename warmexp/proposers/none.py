"""No proposer: only inits that read no proposal can be chosen with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from warmexp.proposers.proposal import Asked, Proposal, Proposer


@dataclass
class NoProposer(Proposer):
    proposes = False

    def identity(self) -> dict[str, Any]:
        return {"kind": "none"}

    def propose(self, questions: list[Asked], device: str, seed: int, progress) -> Iterator[tuple[str, Proposal]]:
        return iter(())
