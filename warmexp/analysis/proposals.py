"""What became of proposals: accuracy where they were right and where they were wrong, and how many injected tokens
survived.

A token is injected where it stands on the canvas before any forward; an init that verifies puts all of the proposal
there, and what it does not keep counts as revoked. Of a tail of end-of-text behind a proposal only the first token
counts.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from warmexp.runs.statistics import wilson


@dataclass(frozen=True)
class Survival:
    """Of n injected tokens: the share never revoked (kept) and the share that is on the final canvas (same), re-decoded
    ones included."""

    n: int
    kept: float | None
    same: float | None


@dataclass(frozen=True)
class Injected:
    """Survival of all injected tokens, and of those of right and of wrong proposals."""

    all: Survival
    right: Survival
    wrong: Survival


def fates(record: dict[str, Any]) -> list[tuple[int, bool, bool]]:
    """The injected tokens of a record: position, whether it was never revoked, whether the same token stands there in
    the end.

    A position was injected where its final token is (source `injected`), where an injected token was revoked, or where
    one was scored by an init that verifies and not kept. Tokens of a proposal that was moved later are left out, and
    all of a canvas whose positions have moved.
    """
    if record.get("moves"):
        return []
    ids, proposal = record["ids"], record["proposal"]
    n = proposal.get("written", len(ids)) + 1
    since = record.get("commit_iteration") or [-1] * len(ids)
    kept = [i for i, source in enumerate(record["source"][:n]) if source == "injected" and since[i] < 0]
    lost = {
        at: ids[at] == token
        for _, at, token, source, k in record["revocations"]
        if source == "injected" and k < 0 and at < n
    }
    if score := proposal.get("score"):
        there = {*kept, *lost}
        lost |= {
            i: ids[i] == proposal["ids"][i] for i, one in enumerate(score[:n]) if one is not None and i not in there
        }
    return [(i, True, True) for i in kept] + [(i, False, same) for i, same in lost.items()]


def injected(rows: list[dict[str, Any]], accuracy: str) -> Injected | None:
    """From records; None where no token was injected."""
    counts = np.zeros((2, 3), dtype=int)  # wrong, right × injected, kept, same
    for r in rows:
        if f"correct_{accuracy}" not in (r.get("proposal") or {}) or "source" not in r:
            continue
        tokens = fates(r)
        counts[int(r["proposal"][f"correct_{accuracy}"])] += (
            len(tokens),
            sum(k for _, k, _ in tokens),
            sum(s for _, _, s in tokens),
        )
    if counts[:, 0].sum() == 0:
        return None
    return Injected(_survival(counts.sum(axis=0)), _survival(counts[1]), _survival(counts[0]))


def _survival(counts: np.ndarray) -> Survival:
    n, kept, same = counts.tolist()
    return Survival(n, kept / n if n else None, same / n if n else None)


def by_proposal(
    right: np.ndarray, proposal_right: np.ndarray, baseline_right: np.ndarray | None, tokens: Injected | None
) -> dict[str, Any]:
    """A warm start's accuracy apart by whether the proposal was right, beside the cold start's on the same questions.

    Args:
        right, proposal_right: [n] bool. baseline_right: [n] bool, the same questions; None without a baseline.
    Returns:
        {"right": {...}, "wrong": {...}, "injected": {...} | None}; a group has n, accuracy, accuracy_ci95 (Wilson),
        baseline_accuracy. A prior that is merely copied gives accuracies of 1 and 0; one that is ignored gives the
        baseline's.
    """
    out: dict[str, Any] = {}
    for name, group in (("right", proposal_right), ("wrong", ~proposal_right)):
        n, correct = int(group.sum()), int(right[group].sum())
        out[name] = {
            "n": n,
            "accuracy": correct / n if n else None,
            "accuracy_ci95": list(wilson(correct, n)) if n else None,
            "baseline_accuracy": float(baseline_right[group].mean()) if n and baseline_right is not None else None,
        }
    return {**out, "injected": None if tokens is None else asdict(tokens)}
