"""Every method against the joint front of all the others: what it saves at equal accuracy, question by question.

A method is what was chosen, whatever the keys of the options are: runs that differ in a threshold, a rate or a number
of steps are one method at several settings. A saving over the cold start's own front says that a method beats the
threshold; it is worth its place only where it also saves something over everything else that was run. The others are
taken at all their settings, the luckiest included, so a saving over them is rather too small than too large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from warmexp.analysis.points import COLD_START, FIXED_LENGTH, Point
from warmexp.analysis.saving import MISS, Saved, savings
from warmexp.config.keys import METHODS, usual_options

CHOSEN = ("proposer", *METHODS)
FAMILIES = (
    "unmasking", "evidence", "feeds", "lengths", "revision", "drafts", "watchers", "ensembles", "warm starts",
)  # fmt: skip


@dataclass(frozen=True)
class Method:
    """label: as it is typed on a command line, but for what is chosen anyway. runs: cheapest first. best: of these the
    one whose saving has the highest lower limit, of those that are less accurate than all others only where there is no
    better; its limits hold for all runs of the method together (against_others). on_front: how many of them no run
    dominates."""

    label: str
    family: str
    runs: tuple[str, ...]
    on_front: int
    best: str
    saved: Saved | None = field(repr=False)


def family(settings: Mapping[str, Any]) -> str:
    """What a run adds to plain unmasking; of several things the last of FAMILIES."""

    def chosen(group: str, plain: str = "none") -> bool:
        return settings.get(f"choices.{group}") not in (None, "", "[]", plain)

    added = {
        "evidence": chosen("evidence"),
        "feeds": chosen("feed"),
        "lengths": chosen("length", FIXED_LENGTH),
        "drafts": chosen("draft"),
        "revision": chosen("remask"),
        "watchers": chosen("watch"),
        "ensembles": chosen("ensemble"),
        "warm starts": chosen("init", COLD_START),
    }
    return next((name for name in reversed(FAMILIES) if added.get(name)), FAMILIES[0])


def gathered(points: Sequence[Point], ranked: np.ndarray) -> dict[tuple, list[int]]:
    """What was chosen -> which of the ranked runs chose it, in the order in which they come."""
    found: dict[tuple, list[int]] = {}
    for i in np.flatnonzero(ranked).tolist():
        found.setdefault(_choice(points[i]), []).append(i)
    return found


def _choice(point: Point) -> tuple:
    settings = dict(point.settings)
    return tuple((group, str(settings.get(f"choices.{group}"))) for group in CHOSEN)


def named(point: Point) -> str:
    """The words that choose a run's method, as in Method.label."""
    return _label(_choice(point), usual_options())


def against_others(
    methods: Mapping[tuple, Sequence[int]],
    cost: np.ndarray,
    accuracy: np.ndarray,
    covariance: np.ndarray,
    n: np.ndarray,
) -> dict[int, Saved]:
    """Run -> what it saves against the hull of all runs of the other methods; nothing where there is one method alone.

    The limits of a method's runs miss the truth in 5 % of studies at most, all of its runs together: each of the m has
    the level 1 - 0.05/m, so the best of them may be picked afterwards.

    Args:
        cost, accuracy, covariance, n: as for `savings`.
    """
    everyone = [i for members in methods.values() for i in members]
    found: dict[int, Saved] = {}
    for members in methods.values():
        others = [i for i in everyone if i not in set(members)]
        if others:
            each = savings(cost, accuracy, covariance, n, others, runs=members, miss=MISS / len(members), whose="other")
            found |= dict(zip(members, each, strict=True))
    return found


def summaries(
    points: Sequence[Point], methods: Mapping[tuple, Sequence[int]], saved: Mapping[int, Saved],
    cost: np.ndarray, on_front: np.ndarray,
) -> tuple[Method, ...]:  # fmt: skip
    """One row per method, by family and in it by cost."""
    usual = usual_options()
    made = []
    for choice, members in methods.items():
        ordered = sorted(members, key=lambda i: (cost[i], points[i].run_id))
        best = max(ordered, key=lambda i: _worth(saved.get(i)))
        made.append(
            Method(
                label=_label(choice, usual),
                family=family(dict(points[best].settings)),
                runs=tuple(points[i].run_id for i in ordered),
                on_front=int(on_front[members].sum()),
                best=points[best].run_id,
                saved=saved.get(best),
            )
        )
    least = {points[i].run_id: float(cost[i]) for members in methods.values() for i in members}
    return tuple(sorted(made, key=lambda one: (FAMILIES.index(one.family), least[one.runs[0]], one.label)))


def _worth(saved: Saved | None) -> tuple[bool, float, float]:
    if saved is None:
        return False, -np.inf, -np.inf
    low = saved.ci95[0]
    return saved.bound != "at_most", (-np.inf if low is None else low), saved.saved


def _label(choice: tuple, usual: Mapping[str, str]) -> str:
    """The words that choose it: the unmasking policy always, a warm start's init and proposer, and what is not chosen
    anyway."""
    names = dict(choice)
    warm = names["init"] != COLD_START
    always = {"unmask", "init", "proposer"} if warm else {"unmask"}
    words = [
        f"{group}={names[group]}".replace("'", "").replace(", ", ",")
        for group in ("init", "proposer", *(one for one in METHODS if one != "init"))
        if group in always or (group != "proposer" and names[group] not in ("None", "none", "[]", usual.get(group)))
    ]
    return " ".join(words)
