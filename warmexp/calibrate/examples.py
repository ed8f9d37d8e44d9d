"""Proposed tokens of finished runs, what their authors knew about them, and whether they were right.

A token is right by one of three labels:

- truth: the text up to its end begins some correct solution (the lab alone can tell, lab/truth.py);
- survival: a cold start of the same question put the same token at the same position;
- answer: the proposal as a whole ends in the right answer, whatever the token.

Where a proposal fits the canvas with a tail, its end counts as one token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from warmexp.analysis.points import load_point
from warmexp.errors import UserError
from warmexp.io import read_json
from warmexp.lab.truth import is_solution, right_tokens
from warmexp.proposers.calibration import FEATURES, features
from warmexp.runs.stored import lacking, read_records
from warmexp.stored_config import read_config

_PROPOSED = ("proposal.ids", "proposal.trust", "proposal.written", "proposal.correct_flexible")
LABELS = ("truth", "survival", "answer")
Record = dict[str, Any]


@dataclass(frozen=True)
class Examples:
    """n tokens. rows: [n, 4] float64, in the order of FEATURES. right: [n] bool. question: [n] str, which question a
    token is of."""

    rows: np.ndarray
    right: np.ndarray
    question: np.ndarray


@dataclass(frozen=True)
class Run:
    """A finished run. lab: whether its questions are the lab's. split: None where the task has none. texts: token id ->
    text."""

    folder: Path
    lab: bool
    split: str | None
    records: list[Record]
    texts: dict[int, str]


def read_run(folder: Path) -> Run:
    """Raises UserError where the folder is not that of a finished run."""
    try:
        load_point(folder)
    except ValueError as error:
        raise UserError(f"{error}: name the folders of finished runs.") from None
    config = read_config(folder)
    lab = _at(config, "identity", "task", "kind") in ("lab", "lab_long")
    try:
        found = {int(i): str(text) for i, text in read_json(folder / "tokens.json").items()}
    except (UserError, ValueError):
        raise UserError(f"{folder} has no readable tokens.json: delete the folder and make the run again.") from None
    return Run(folder, lab, _at(config, "task", "split"), read_records(folder), found)


def _at(config: Any, *keys: str) -> Any:
    for key in keys:
        config = config.get(key) if isinstance(config, dict) else None
    return config


def examples(runs: Sequence[Run], label: str, cold: Run | None, back: int, behind_right: bool) -> Examples:
    """The tokens of all proposals of the runs.

    back: of the feature `weakest`. behind_right: only tokens that follow nothing wrong, for the probability that a
    token is right where everything before it is.

    Raises:
        UserError: a run has no proposals, or was made before records kept their tokens; the cold run has not all of the
        questions.
    """
    rows, right, question = [], [], []
    for run in runs:
        judge = _judge(label, run, cold)
        for record in _proposed(run):
            verdict = np.asarray(judge(record), bool)
            known = _features(record, run.texts, back)[: len(verdict)]
            if behind_right:
                chosen = np.concatenate(([True], verdict[:-1])).cumprod().astype(bool)[: len(verdict)]
                verdict, known = verdict[chosen], known[chosen]
            rows.append(known)
            right.append(verdict)
            question += [record["id"]] * len(verdict)
    return Examples(np.concatenate(rows), np.concatenate(right), np.asarray(question))


def _proposed(run: Run) -> Iterable[Record]:
    """The records whose proposal has a token."""
    proposals = [record for record in run.records if record.get("proposal")]
    if not proposals:
        raise UserError(f"{run.folder} has no proposals: name a run whose init reads one, such as experiment=trusted.")
    if any(lacking(record, _PROPOSED) for record in proposals):
        raise UserError(f"{run.folder} was made before records kept a proposal's tokens: delete it and make it again.")
    unknown = {i for record in proposals for i in record["proposal"]["ids"]} - run.texts.keys()
    if unknown:
        raise UserError(
            f"{run.folder}: tokens.json lacks token {min(unknown)}: delete the folder and make the run again."
        )
    return [record for record in proposals if record["proposal"]["ids"]]


def _features(record: Record, texts: dict[int, str], back: int) -> np.ndarray:
    """[n, 4]."""
    proposal = record["proposal"]
    numeric = [any(c.isdigit() for c in texts[i]) for i in proposal["ids"]]
    known = features(proposal["trust"] or [1.0] * len(numeric), numeric, proposal["written"], back)
    return np.stack([known[name] for name in FEATURES], 1)


def _judge(label: str, run: Run, cold: Run | None) -> Callable[[Record], list[bool]]:
    """From a record to whether its proposal's first tokens are right: those of its text, and its end where it has a
    tail."""
    if label == "survival":
        ids = {record["id"]: record.get("ids") for record in cold.records}
        missing = [record["id"] for record in run.records if ids.get(record["id"]) is None]
        if missing:
            raise UserError(
                f"--cold {cold.folder} lacks {len(missing)} questions of {run.folder} (such as {missing[0]}): decode"
                " the same."
            )
        return lambda r: [a == b for a, b in zip(_tokens(r), ids[r["id"]], strict=False)]
    if label == "answer":
        return lambda r: [r["proposal"]["correct_flexible"]] * len(_tokens(r))
    return lambda r: _truth(r, run.texts)


def _tokens(record: Record) -> list[int]:
    proposal = record["proposal"]
    return proposal["ids"][: proposal["written"] + 1]


def _truth(record: Record, texts: dict[int, str]) -> list[bool]:
    written = record["proposal"]["written"]
    pieces = [texts[i] for i in _tokens(record)]
    end = [is_solution(record["id"], "".join(pieces[:written]))] * (len(pieces) - written)
    return right_tokens(record["id"], pieces[:written]) + end
