"""Ensembles: a question's members are decoded one after the other, their answers are counted, and the record is the
winner's with the cost of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from warmexp.tasks.score import INVALID

# What a record says of costs, all of which add up.
COSTS = (
    "nfe",
    "rows",
    "commit_forwards",
    "no_op",
    "aux_forwards",
    "full_forward_equivalents",
    "token_forwards",
    "guide_forwards",
    "guide_token_forwards",
    "seconds_guide",
    "seconds",
    "seconds_forward",
    "remembered_forwards",
)


def elected(answers: Sequence[str], same: Callable[[str, str], bool]) -> int:
    """The first member whose answer most members give; of equally frequent answers the one seen first. Who gives no
    answer has no vote.

    answers: one per member, INVALID where there is none. same: whether two of them say the same.
    """
    votes: dict[int, int] = {}
    for i, answer in enumerate(answers):
        if answer != INVALID:
            first = next((k for k in votes if same(answer, answers[k])), i)
            votes[first] = votes.get(first, 0) + 1
    return max(votes, key=lambda k: votes[k], default=0)


def merged(records: Sequence[dict[str, Any]], same: Callable[[str, str], bool]) -> dict[str, Any]:
    """One question's record from those of its members: the winner's text and decode, the costs of all, and under
    `members` what each of them answered at which cost."""
    answers = [record["extracted"]["flexible"] for record in records]
    winner = elected(answers, same)
    members = [
        {"answer": answer, "correct": record["correct"]["flexible"], "nfe": record["nfe"]}
        for answer, record in zip(answers, records, strict=True)
    ]
    total = {name: sum(record[name] for record in records) for name in COSTS if name in records[0]}
    return {**records[winner], **total, "winner": winner, "members": members}
