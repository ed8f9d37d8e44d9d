"""A run question by question: what its records say about cost and correctness, as arrays in the order of the questions' ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from warmexp.errors import UserError
from warmexp.front.axes import AXES
from warmexp.front.calibration import Calibration, calibrate
from warmexp.front.points import FILTERS, Point
from warmexp.front.proposals import Injected, injected
from warmexp.io import read_lines


@dataclass(frozen=True)
class Measured:
    """A point with its n questions, sorted by id.

    x: axis -> [n] float64, axes that the records lack are absent. correct: filter -> [n] bool. proposal_right: filter -> [n] bool, empty
    for a cold start. tokens: [n] response tokens before the first end token, None where the records do not count them.
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

    @property
    def right(self) -> np.ndarray:
        """[n] bool by the point's own filter."""
        return self.correct[self.point.accuracy_filter]


def measure(point: Point) -> Measured:
    """Read a point's records.jsonl.

    Raises:
        UserError: one sentence, where the records are damaged, or are not those of the point's n questions.
    """
    rows = sorted(read_lines(point.folder / "records.jsonl"), key=lambda r: str(r["id"]))
    if len(rows) != point.n or point.n == 0:
        raise UserError(f"{point.folder}: records.jsonl has {len(rows)} questions and summary.json {point.n}: run it again.")
    proposed = all(r.get("proposal") for r in rows)
    return Measured(
        point=point,
        ids=tuple(str(r["id"]) for r in rows),
        x={name: values for name, axis in AXES.items() if (values := _values(rows, axis.read)) is not None},
        correct={name: np.array([r["correct"][name] for r in rows], dtype=bool) for name in FILTERS if name in rows[0]["correct"]},
        proposal_right={name: np.array([r["proposal"][f"correct_{name}"] for r in rows], bool) for name in FILTERS} if proposed else {},
        tokens=_values(rows, lambda r: r["response_tokens"]),
        aux_forwards=float(np.mean([r.get("aux_forwards", 0) for r in rows])),
        injected=injected(rows, point.accuracy_filter),
        calibration=calibrate(rows, point.accuracy_filter),
    )


def _values(rows: list[dict[str, Any]], read) -> np.ndarray | None:
    try:
        return np.array([read(r) for r in rows], dtype=np.float64)
    except KeyError:  # records of an earlier version
        return None
