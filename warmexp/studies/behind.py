"""Whether a run that is not finished lies wholly behind runs that are: then a search stops it, and keeps its records.

Compared question by question, on the first n of the order in which questions are decoded, whatever has been finished
besides them: so the verdict does not depend on which of a batch happened to be done first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from warmexp.analysis.paired import difference_interval
from warmexp.errors import UserError
from warmexp.runs.stored import FOLDER, read_records

# Set for a job that may be stopped early: after how many questions it is looked at, and behind which runs it may lie.
BEHIND = "WARMEXP_BEHIND"
STOPPED = "stopped"  # what a job returns that was
LEVEL = 0.99  # of both intervals, because a run is looked at more than once and beside several others


def said_behind(after: int | None, runs: Sequence[str]) -> str:
    return ",".join([str(after), *runs])


class Behind:
    """Looks at a run after so many questions, and whenever they have doubled.

    said: as said_behind writes it. What cannot be read (a run that was deleted since) stops nothing.
    """

    def __init__(self, said: str, outputs: Path):
        after, *runs = said.split(",")
        self._next = int(after) if after.isdecimal() and int(after) else math.inf
        self._others = {run: found for run in runs if (found := _read(outputs, run))}

    def __call__(self, order: Sequence[str], records: Mapping[str, dict[str, Any]]) -> str | None:
        """Why a run is to be stopped, as a clause; None where it goes on. order: the ids of all its questions, as they
        are decoded. records: of those that are finished."""
        while self._next < len(order) and all(one in records for one in order[: self._next]):
            ids, self._next = order[: self._next], 2 * self._next
            mine = {one: records[one] for one in ids}
            for run, theirs in self._others.items():
                if clause := _behind(mine, theirs):
                    return f"after {len(ids)} of {len(order)} questions it lies wholly behind {run} ({clause})"
        return None


def _behind(mine: Mapping[str, dict[str, Any]], theirs: Mapping[str, dict[str, Any]]) -> str | None:
    """The two differences, where the intervals of both lie on the wrong side of zero."""
    if not mine.keys() <= theirs.keys():
        return None
    forwards = np.array([mine[one]["nfe"] - theirs[one]["nfe"] for one in mine], dtype=float)
    gains = [int(mine[one]["correct"]["flexible"]) - int(theirs[one]["correct"]["flexible"]) for one in mine]
    n, wins, losses = len(gains), gains.count(1), gains.count(-1)
    if n < 2 or losses <= wins:
        return None
    margin = NormalDist().inv_cdf(0.5 + LEVEL / 2) * float(forwards.std(ddof=1)) / math.sqrt(n)
    least, most = float(forwards.mean()) - margin, difference_interval(wins, losses, n, LEVEL)[1]
    if least <= 0 or most >= 0:
        return None
    return f"at least {least:.2f} forwards more and {-100 * most:.1f} points less accurate, at {100 * LEVEL:g} %"


def _read(outputs: Path, run: str) -> dict[str, dict[str, Any]] | None:
    if not re.fullmatch(FOLDER, run):
        return None
    try:
        records = read_records(outputs / run)
    except (UserError, OSError):
        return None
    return {r["id"]: r for r in records if "nfe" in r and "flexible" in r.get("correct", {})}
