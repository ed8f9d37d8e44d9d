"""Outcomes of the labs' trust studies, question by question, small enough to be kept: what README and docs say is
recomputed from them.

    python -m tests.analysis.stored trust outputs    # after python -m warmexp -m +sweep=trust; writes data/trust.json.gz
    python -m tests.analysis.stored long outputs     # after python -m warmexp -m +sweep=long; writes data/long.json.gz
    python -m tests.analysis.stored long_others outputs     # after python -m warmexp -m +sweep=long_others

A run is {"method" (the init, and the unmasking policy where it is not the threshold), "proposer", "tau", "block", "length", "split", "n", "nfe": two base-36 digits per question, "right": 0
or 1 per question}, questions in the order of their ids. Right is by the flexible filter.
"""

from __future__ import annotations

import gzip
import json
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from tests.analysis.populations import covariance
from tests.analysis.recomputed import rows
from warmexp.analysis.points import collect
from warmexp.analysis.saving import Saved, hull, savings

DATA = Path(__file__).parent / "data"
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Run:
    """nfe: [n] int. right: [n] bool."""

    method: str
    proposer: str
    tau: float
    block: int
    length: str
    split: str
    nfe: np.ndarray
    right: np.ndarray

    @property
    def cost(self) -> float:
        return float(self.nfe.mean())

    @property
    def percent(self) -> float:
        return 100 * float(self.right.mean())


@cache
def runs(study: str = "trust") -> tuple[Run, ...]:
    stored = json.loads(gzip.decompress((DATA / f"{study}.json.gz").read_bytes()))
    keys = ("method", "proposer", "tau", "block", "length", "split")
    return tuple(
        Run(
            *(one[key] for key in keys),
            np.array([int(one["nfe"][k : k + 2], 36) for k in range(0, len(one["nfe"]), 2)]),
            np.array([bit == "1" for bit in one["right"]]),
        )
        for one in stored
    )


def the(
    method: str,
    proposer: str = "none",
    *,
    tau: float = 0.7,
    block: int = 16,
    length: str = "fixed",
    split: str = "test",
    study: str = "trust",
) -> Run:
    wanted = (method, proposer, tau, block, length, split)
    (found,) = [
        run for run in runs(study) if (run.method, run.proposer, run.tau, run.block, run.length, run.split) == wanted
    ]
    return found


def cold(split: str = "test", study: str = "trust", **settings) -> list[Run]:
    """Cold runs of a split, with these settings."""
    found = [run for run in runs(study) if run.method.startswith("mask") and run.split == split]
    return [run for run in found if all(getattr(run, key) == value for key, value in settings.items())]


def baseline(study: str = "trust") -> list[Run]:
    """What a cold start chooses on the calibration split, the corners of its hull there, on the test split."""
    there = cold("calibration", study)
    best = {(run.method, run.tau, run.block, run.length) for run in corners(there)}
    return [run for run in cold(study=study) if (run.method, run.tau, run.block, run.length) in best]


def corners(some: list[Run]) -> list[Run]:
    """Of some runs those that their hull is made of, cheapest first."""
    places = set(
        zip(*(side.tolist() for side in hull(*(np.array([m(r) for r in some]) for m in (_cost, _right)))), strict=True)
    )
    return sorted((run for run in some if (_cost(run), _right(run)) in places), key=_cost)


def _cost(run: Run) -> float:
    return run.cost


def _right(run: Run) -> float:
    return float(run.right.mean())


def saving(run: Run, others: list[Run]) -> Saved:
    both = [*others, run]
    cost, right = np.stack([one.nfe for one in both], axis=1), np.stack([one.right for one in both], axis=1)
    means = cost.mean(axis=0), right.mean(axis=0)
    return savings(*means, covariance(cost, right), np.full(len(both), len(cost)), list(range(len(others))))[-1]


def two(nfe: int) -> str:
    return DIGITS[nfe // 36] + DIGITS[nfe % 36]


def write(study: str, *outputs: str) -> None:
    found = []
    for point in (point for one in outputs for point in collect(one)[0]):
        settings, records = dict(point.settings), rows(point.folder)
        if point.oracle or point.remask != "none" or point.method not in ("mask", "verified"):
            continue
        about = {
            "method": point.method if point.unmask == "threshold" else f"{point.method}, {point.unmask}",
            "proposer": point.proposer,
            "tau": point.at,
            "block": settings["length.block_length"],
        }
        about |= {"length": settings["choices.length"], "split": point.split, "n": len(records)}
        right = "".join("01"[row["correct"]["flexible"]] for row in records)
        found.append({**about, "nfe": "".join(map(two, (row["nfe"] for row in records))), "right": right})
    found.sort(key=lambda one: [str(value) for value in one.values()])
    (DATA / f"{study}.json.gz").write_bytes(gzip.compress(json.dumps(found, separators=(",", ":")).encode(), mtime=0))


if __name__ == "__main__":
    write(*sys.argv[1:])
