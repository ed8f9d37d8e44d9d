"""What became of proposals: accuracy where they were right and where they were wrong, and how many injected tokens survived."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from warmexp.front.statistics import wilson


@dataclass(frozen=True)
class Survival:
    """Of n injected tokens: the share never revoked (kept) and the share that is on the final canvas (same), re-decoded ones included."""

    n: int
    kept: float | None
    same: float | None


@dataclass(frozen=True)
class Injected:
    """Survival of all injected tokens, and of those of right and of wrong proposals."""

    all: Survival
    right: Survival
    wrong: Survival


def injected(rows: list[dict[str, Any]], accuracy: str) -> Injected | None:
    """From records. A position was injected where its final token is (source `injected`) or where an injected token was revoked."""
    counts = np.zeros((2, 3), dtype=int)  # wrong, right × injected, kept, same
    for r in rows:
        if not r.get("proposal") or "source" not in r:
            continue
        kept = [i for i, source in enumerate(r["source"]) if source == "injected"]
        lost = [(event[1], event[2]) for event in r["revocations"] if event[3] == "injected"]
        same = len(kept) + sum(r["ids"][position] == token for position, token in lost)
        counts[int(r["proposal"][f"correct_{accuracy}"])] += (len(kept) + len(lost), len(kept), same)
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
        {"right": {...}, "wrong": {...}, "injected": {...} | None}; a group has n, accuracy, accuracy_ci95 (Wilson), baseline_accuracy.
        A prior that is merely copied gives accuracies of 1 and 0; one that is ignored gives the baseline's.
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
