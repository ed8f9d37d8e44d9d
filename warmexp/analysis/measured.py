"""A run question by question: what its records say about cost and correctness, as arrays in the order of the questions'
ids."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np

from warmexp.analysis.axes import AXES
from warmexp.analysis.calibration import Calibration, calibrate
from warmexp.analysis.points import FILTERS, Point
from warmexp.analysis.proposals import Injected, injected
from warmexp.analysis.readout import Readout, readout
from warmexp.analysis.survival import ByTruth, by_trust_and_truth
from warmexp.errors import UserError
from warmexp.runs.stored import lacking, read_records

_WORTH_IT = 2**27  # bytes of records


@dataclass(frozen=True)
class Measured:
    """A point with its n questions, sorted by id.

    x: axis -> [n] float64, axes that the records lack are absent. correct, proposal_right: filter -> [n] bool, without
    filters that some record does not know; proposal_right is empty for a cold start. tokens: [n] response tokens before
    the first end token, None where the records do not count them.
    """

    point: Point
    ids: tuple[str, ...]
    x: dict[str, np.ndarray]
    correct: dict[str, np.ndarray]
    proposal_right: dict[str, np.ndarray]
    tokens: np.ndarray | None
    aux_forwards: float  # mean per question
    injected: Injected | None  # None where no token was injected
    calibration: dict[str, Calibration | None]
    survival: ByTruth | None  # None where no token was injected
    readout: Readout | None  # None where the records do not say
    members: tuple[
        Measured, ...
    ] = ()  # the runs of a point that is several seeds' mean; x, correct and tokens are then their means

    @property
    def shown(self) -> Measured:
        """The run whose decodes are looked at: itself, or that of the first seed."""
        return self.members[0] if self.members else self

    @property
    def right(self) -> np.ndarray:
        """[n] bool by the point's own filter; of several seeds, the share of them that is right."""
        return self.correct[self.point.accuracy_filter]


def measure(point: Point) -> Measured:
    """Read a point's records.jsonl.

    Raises:
        UserError: one sentence, where the records are damaged, or are not those of the point's n questions.
    """
    rows = sorted(read_records(point.folder, _unfit(point.accuracy_filter)), key=lambda r: r["id"])
    if len(rows) != point.n:
        raise UserError(
            f"{point.folder}: records.jsonl has {len(rows)} questions and summary.json {point.n}: delete summary.json"
            " and run it again."
        )
    proposed = all(r.get("proposal") for r in rows)
    return Measured(
        point=point,
        ids=tuple(r["id"] for r in rows),
        x={name: values for name, axis in AXES.items() if (values := _values(rows, axis.read)) is not None},
        correct=_verdicts([r["correct"] for r in rows], "{}"),
        proposal_right=_verdicts([r["proposal"] for r in rows], "correct_{}") if proposed else {},
        tokens=_values(rows, lambda r: r["response_tokens"]),
        aux_forwards=float(np.mean([r.get("aux_forwards", 0) for r in rows])),
        injected=injected(rows, point.accuracy_filter),
        calibration=calibrate(rows, point.accuracy_filter),
        survival=by_trust_and_truth(rows, point.accuracy_filter),
        readout=readout(rows, point.accuracy_filter),
    )


def measure_all(points: Sequence[Point], processes: int = 1) -> list[Measured | UserError]:
    """Every point measured, or why it cannot be. Parsing is what takes the time, so large records can be read by
    several processes.

    processes: more than one only from a program that can be imported again (its work is under `if __name__ ==
    "__main__"`).
    """
    size = sum(file.stat().st_size for p in points if (file := p.folder / "records.jsonl").is_file())
    if processes == 1 or size < _WORTH_IT:
        return [_attempt(point) for point in points]
    # Not forked: the process that finishes a study holds threads, and perhaps a GPU.
    with ProcessPoolExecutor(min(processes, len(points)), mp_context=get_context("spawn")) as pool:
        return list(pool.map(_attempt, points))


def cores() -> int:
    """How many processes can run at once here."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _attempt(point: Point) -> Measured | UserError:
    try:
        return measure(point)
    except UserError as error:
        return error


def _unfit(accuracy: str) -> Callable[[dict[str, Any]], str | None]:
    """Says of a record what a front cannot do without and it lacks. Proposals of an earlier version have no verdicts;
    then none has."""
    needed, judged = ("nfe", "correct", f"correct.{accuracy}"), [f"proposal.correct_{name}" for name in FILTERS]
    first: list[list[str]] = []

    def unfit(record: dict[str, Any]) -> str | None:
        missing = lacking(record, needed)
        if record.get("proposal"):
            first[:] = first or [lacking(record, judged)]
            missing += sorted(set(lacking(record, judged)) - set(first[0]))
        return f"lacks {', '.join(missing)}" if missing else None

    return unfit


def _verdicts(parts: list[dict[str, Any]], key: str) -> dict[str, np.ndarray]:
    """By the filters that all of them were judged by."""
    spelled = {name: key.format(name) for name in FILTERS}
    return {
        name: np.array([part[k] for part in parts], bool)
        for name, k in spelled.items()
        if all(k in part for part in parts)
    }


def _values(rows: list[dict[str, Any]], read: Callable[[dict[str, Any]], float]) -> np.ndarray | None:
    try:
        return np.array([read(r) for r in rows], dtype=np.float64)
    except KeyError:  # records of an earlier version
        return None
