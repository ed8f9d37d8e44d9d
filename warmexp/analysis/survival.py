"""Which injected tokens stand in the end: by the trust their author had in them, and by whether they were right.

A method that believes a proposal as far as it deserves keeps right tokens and loses wrong ones whatever their trust;
one that copies keeps both; one whose gate is the author's word keeps what is trusted, right or wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from warmexp.analysis.proposals import fates

EDGES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.97, 0.99, 0.999, 1.0)  # authors are sure of most of what they write


@dataclass(frozen=True)
class TrustBin:
    """The n injected tokens with a trust in [low, high), the last bin holding 1.0 as well: the share never revoked
    (kept) and the share that stands on the final canvas (same), re-decoded ones included; None where there are none."""

    low: float
    high: float
    n: int
    kept: float | None
    same: float | None


@dataclass(frozen=True)
class ByTruth:
    """truth: what right and wrong say, the `token` (the proposal up to it begins a correct solution) or the `answer` of
    its proposal.
    trusted: whether any author said something; otherwise trust is 1.0 throughout."""

    truth: str
    trusted: bool
    right: tuple[TrustBin, ...]
    wrong: tuple[TrustBin, ...]


def by_trust_and_truth(rows: list[dict[str, Any]], accuracy: str) -> ByTruth | None:
    """From records; None where no token was injected, or the records do not hold decodes."""
    rows = [r for r in rows if f"correct_{accuracy}" in (r.get("proposal") or {}) and "source" in r]
    by_token = all(r["proposal"].get("right_tokens") is not None for r in rows)
    found: list[tuple[float, bool, bool, bool]] = []  # trust, right, kept, same
    for r in rows:
        proposal = r["proposal"]
        trust, until, answer = (
            proposal.get("trust"),
            proposal.get("right_tokens"),
            bool(proposal[f"correct_{accuracy}"]),
        )
        found += [
            (trust[at] if trust else 1.0, at < until if by_token else answer, kept, same) for at, kept, same in fates(r)
        ]
    if not found:
        return None
    table = np.array(found, dtype=np.float64)
    right = table[:, 1] == 1
    trusted = any(r["proposal"].get("trust") for r in rows)
    return ByTruth("token" if by_token else "answer", trusted, _bins(table[right]), _bins(table[~right]))


def _bins(table: np.ndarray) -> tuple[TrustBin, ...]:
    """table: [n, 4], see above."""
    which = np.searchsorted(EDGES[1:-1], table[:, 0], side="right")
    n, kept, same = (np.bincount(which, weights, len(EDGES) - 1) for weights in (None, table[:, 2], table[:, 3]))
    return tuple(
        TrustBin(
            EDGES[b],
            EDGES[b + 1],
            int(n[b]),
            float(kept[b] / n[b]) if n[b] else None,
            float(same[b] / n[b]) if n[b] else None,
        )
        for b in range(len(EDGES) - 1)
    )
