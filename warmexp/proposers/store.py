"""The proposal store: each proposal is generated once, whatever sweeps over ρ, λ, p, τ ask for it.

Content-addressed: the file is named after a hash of the proposer's identity (model, decoding options), the key inside
after a hash of the prompt. Lines are appended whole; a torn last line is dropped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from warmexp.io import append_lines, read_lines
from warmexp.jsonl import Row, check_once
from warmexp.locks import Lock
from warmexp.proposers.proposal import Asked, Proposal, Proposer
from warmexp.secrets import is_secret
from warmexp.tasks.task import TaskQuestion

# Raised when a stored proposal changes meaning, so that old files are not read: 3 has no thoughts and turn markers.
FORMAT = 3


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def prompt_sha256(question: Asked | TaskQuestion) -> str:
    """The same text in one turn and in several is not the same prompt."""
    return sha256(json.dumps(question.turns, ensure_ascii=False) if question.turns else question.prompt)


def proposals_for(
    proposer: Proposer,
    questions: list[Asked],
    folder: Path,
    device: str,
    seed: int,
    progress: Callable[[int, int], None],
    make_room: Callable[[], None] = lambda: None,
) -> dict[str, Proposal]:
    """Question id -> proposal, from the store where it is there, generated and stored where it is not.

    make_room: called before a model is loaded for it, and only then.
    """
    if not proposer.stored:
        return dict(proposer.propose(questions, device, seed, progress))
    identity = json.dumps({"format": FORMAT, **proposer.identity()}, sort_keys=True)
    file = folder / f"{sha256(identity)[:16]}.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    # Several workers may share the folder: whoever comes second waits and finds the first one's work.
    with Lock(file.with_suffix(".lock")):
        known = _stored(file)
        wanted = {prompt_sha256(q): q for q in questions}
        missing = [q for key, q in wanted.items() if key not in known]
        if missing:
            make_room()
            by_id = {q.id: key for key, q in wanted.items()}
            for question, proposal in proposer.propose(missing, device, seed, progress):
                known[by_id[question]] = proposal
                if not is_secret(
                    proposal.text
                ):  # changed it would be another proposal, and as it is it may not be kept
                    append_lines(file, [{"prompt_sha256": by_id[question], **proposal.to_json()}])
    return {q.id: known[prompt_sha256(q)] for q in questions}


def _stored(file: Path) -> dict[str, Proposal]:
    """Prompt hash -> proposal."""
    rows = [Row(line, f"{file}, line {number}") for number, line in enumerate(read_lines(file, torn=False), 1)]
    named = [(row.text("prompt_sha256"), row) for row in rows]
    check_once(named, "remove one of them, or the file")
    return {name: Proposal.from_row(row) for name, row in named}
