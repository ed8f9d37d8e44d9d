"""Points of a study become jobs: points that are the same run fold into one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from warmexp.config.keys import SHARED, readers


@dataclass(frozen=True)
class Point:
    """One combination that a study asks for.

    overrides: a command line. run_id, folder, questions (their number), choices (the option chosen in each group): of
    the run it stands for; run_id is None where it cannot be run, and `problem` says why. idle: keys of its overrides
    that do nothing for it.
    seconds: a clause where it is finished and its seconds are not those of what is asked for.
    """

    overrides: tuple[str, ...]
    run_id: str | None
    folder: Path | None
    questions: int
    choices: dict[str, str]
    problem: str | None = None
    idle: tuple[str, ...] = ()
    seconds: str | None = None


def fold(points: Sequence[Point]) -> tuple[list[Point], str | None]:
    """The first point of every run, in order, and a sentence about the others: how many they are and why. Impossible
    points stay."""
    same: dict[str, list[Point]] = defaultdict(list)
    for number, point in enumerate(points):
        same[point.run_id or f"impossible {number}"].append(point)
    kept = [replace(group[0], idle=_idle(group)) for group in same.values()]
    folded = len(points) - len(kept)
    if not folded:
        return kept, None
    whys = dict.fromkeys(why for point in kept for why in _why(point))
    if any(len(group) > 1 and not point.idle for group, point in zip(same.values(), kept, strict=True)):
        whys["some are asked for more than once"] = None
    return (
        kept,
        f"{folded} of {len(points)} points are the same run as another and are folded into it: {'; '.join(whys)}",
    )


def _idle(group: Sequence[Point]) -> tuple[str, ...]:
    """The keys whose value differs among points that are the same run; an experiment is not a key but names many."""
    values: dict[str, set[str]] = defaultdict(set)
    for point in group:
        for word in point.overrides:
            key, _, value = word.partition("=")
            values[key].add(value)
    return tuple(key for key, seen in values.items() if len(seen) > 1 and key != "experiment")


def _why(point: Point) -> list[str]:
    """Which keys do nothing for a point, and because of which choice."""
    idle: dict[str, list[str]] = defaultdict(list)
    only_seconds = [key for key in point.idle if key in ("batch_size", "engine", "share", "device")]
    if only_seconds:
        idle["seconds"] = only_seconds
    for key in (key for key in point.idle if key not in only_seconds):
        reader = readers(key).partition("=")[0] if key in SHARED else "init"
        idle[f"{reader}={point.choices[reader]}"].append(key)
    return [
        f"{', '.join(keys)} {'change' if len(keys) > 1 else 'changes'} no result, only seconds, which are those of"
        " the first"
        if choice == "seconds"
        else f"{', '.join(keys)} {'do' if len(keys) > 1 else 'does'} nothing under {choice}"
        for choice, keys in idle.items()
    ]
