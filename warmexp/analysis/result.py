"""What an analysis says: runs with their intervals and comparisons, groups of runs that may be compared, and
front.json."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import warmexp
from warmexp.analysis.axes import axis
from warmexp.analysis.compare import Paired
from warmexp.analysis.jsonable import jsonable
from warmexp.analysis.measured import Measured
from warmexp.analysis.methods import Method, family
from warmexp.analysis.outside import Outside
from warmexp.analysis.points import Point
from warmexp.analysis.saving import Saved

FORMAT = 2
STEADY = 0.95  # of the resamples in which a run stays undominated


@dataclass(frozen=True)
class Result:
    """One run in its group. x is in the axis' unit per question, accuracy a share by the chosen filter.

    x_median, x_p95: of the questions' x, the 95th percentile being one of them. undominated_share: of the resamples in
    which no other run dominates it; None where it is never on a front. is_candidate: the baseline's selector names it;
    is_baseline: and its hull is made of it (chosen.py). saved, paired: None with the reason beside it. against_others:
    what it saves against the joint front of all other methods (methods.py); None where it stands on no front, or there
    is no other. by_proposal: see proposals.py.
    """

    measured: Measured
    group: int
    x: float
    x_ci95: tuple[float, float]
    x_median: float
    x_p95: float
    on_front: bool
    undominated_share: float | None
    is_baseline: bool
    is_candidate: bool
    saved: Saved | None
    saved_reason: str | None
    against_others: Saved | None
    paired: Paired | None
    paired_reason: str | None
    by_proposal: dict[str, Any] | None

    @property
    def point(self) -> Point:
        return self.measured.point

    @property
    def steady(self) -> bool:
        """On the front, and so in nearly every resample of the questions: what a table prints bold."""
        return self.on_front and (self.undominated_share or 0.0) >= STEADY

    @property
    def accuracy(self) -> float:
        return self.point.accuracy


@dataclass(frozen=True)
class Curve:
    """Runs that differ in the threshold alone, cheapest first, as one curve. aup_reason: why it has no AUP."""

    label: str
    runs: tuple[str, ...]
    hypervolume: float
    hypervolume_ci95: tuple[float, float]
    aup: float | None
    aup_ci95: tuple[float, float] | None
    aup_reason: str | None
    is_baseline: bool


@dataclass(frozen=True)
class AtQuality:
    """A run. rate: of corruption, None but for an oracle. proposal_accuracy: share of proposals that are right, None
    for a cold start."""

    run: str
    proposer: str
    rate: float | None
    proposal_accuracy: float | None
    x: float
    x_ci95: tuple[float, float]
    accuracy: float
    accuracy_ci95: tuple[float, float]


@dataclass(frozen=True)
class QualityCurve:
    """oracles: by rising rate. proposers: the same method with real proposers. cold: the baseline run that the oracle's
    are paired with."""

    group: int
    label: str
    kind: str
    oracles: tuple[AtQuality, ...]
    proposers: tuple[AtQuality, ...]
    cold: AtQuality | None


@dataclass(frozen=True)
class Group:
    """Runs that may be compared. front, baseline_front: (x, accuracy) of the non-dominated runs and of the corners of
    the baseline's hull.

    hypervolume: share of the rectangle up to the reference point that the front dominates, with a bootstrap interval;
    it can only grow with every run that is tried. The baseline's own stands beside it. AUP is a method's, so each curve
    has its own.
    """

    backbone: str
    task: str
    questions: tuple[str, ...]
    n: int  # different questions
    split: str
    front: tuple[tuple[float, float], ...]
    baseline_choice: str  # how the baseline's settings were chosen
    baseline_candidates: tuple[str, ...]  # all that the selector names
    baseline_runs: tuple[str, ...]  # of these, what the hull is made of
    baseline_front: tuple[tuple[float, float], ...]
    reference_x: float
    hypervolume: float
    hypervolume_ci95: tuple[float, float]
    baseline_hypervolume: float | None
    baseline_hypervolume_ci95: tuple[float, float] | None
    curves: tuple[Curve, ...]
    methods: tuple[Method, ...]
    name: str = ""  # tells it from the front's other groups: "24 lab questions, test split"
    caveats: tuple[str, ...] = ()  # of this group alone; the front's own have them too


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a front is asked for: see analysis.analyse. selector: of the baseline."""

    x: str
    accuracy: str
    selector: str
    margin: float
    pooled: bool
    reference: float | None = None
    plan: dict[str, Any] | None = None
    outside: tuple[Outside, ...] = ()

    def beside(self, tasks: set[str]) -> list[Outside]:
        """Of the points from elsewhere those that have a place on this axis and are of one of these tasks."""
        return [one for one in self.outside if one.task in tasks and self.x in one.x]


@dataclass(frozen=True, kw_only=True)
class Front(Asked):
    """What front.json holds. general: what a reader must know of it as a whole. groups: largest first; the first one's
    numbers are also front.json's own. prior_quality: see quality.py."""

    general: tuple[str, ...]
    left_out: tuple[str, ...]
    groups: tuple[Group, ...]
    runs: tuple[Result, ...]
    checklist: tuple[Any, ...]  # of checklist.Item
    prior_quality: tuple[QualityCurve, ...]

    @property
    def caveats(self) -> tuple[str, ...]:
        """What a reader must know before comparing, one sentence each: of the front as a whole, then of its groups."""
        said: dict[str, list[str]] = {}
        for group in self.groups:
            for sentence in group.caveats:
                said.setdefault(sentence, []).append(group.name)
        several = len(self.groups) > 1
        return (
            *self.general,
            *(f"{'; '.join(names)}: {sentence}" if several else sentence for sentence, names in said.items()),
        )

    @property
    def x_label(self) -> str:
        return axis(self.x).label

    @cached_property
    def varying(self) -> tuple[str, ...]:
        """Dotted keys of the config in which the runs differ, without those that follow from a choice that differs
        anyway."""
        settings = [dict(run.point.settings) for run in self.runs]
        keys = sorted({key for one in settings for key in one})
        return tuple(key for key in keys if _differs(settings, key) and not _follows(settings, key))

    def to_json(self) -> dict[str, Any]:
        """front.json, format 2: plain JSON values, no NaN."""
        first = self.groups[0] if self.groups else None
        questions = {q: {"n": run.point.n, "task": run.point.task} for run in self.runs for q in [run.point.questions]}
        return jsonable(
            {
                "format": FORMAT,
                "warmexp": warmexp.__version__,
                "x": self.x,
                "x_label": self.x_label,
                "accuracy": self.accuracy,
                "pooled": self.pooled,
                "plan": self.plan,
                "margin": self.margin,
                "caveats": self.caveats,
                "checklist": self.checklist,
                "left_out": self.left_out,
                "questions": questions,
                "baseline": {
                    "selector": self.selector,
                    "runs": first.baseline_runs if first else [],
                    "front": first.baseline_front if first else [],
                    "hypervolume": first.baseline_hypervolume if first else None,
                    "hypervolume_ci95": first.baseline_hypervolume_ci95 if first else None,
                },
                "reference_point": {"x": first.reference_x if first else None, "accuracy": 0},
                "hypervolume": first.hypervolume if first else None,
                "hypervolume_ci95": first.hypervolume_ci95 if first else None,
                "front": first.front if first else [],
                "curves": first.curves if first else [],
                "groups": self.groups,
                "prior_quality": self.prior_quality,
                "varying": self.varying,
                "runs": [_run_json(run) for run in self.runs],
                "outside": [one.on(self.x) for one in self.beside({group.task for group in self.groups})],
            }
        )


def _seeds(run: Result) -> dict[str, Any] | None:
    """Of a point that is several seeds' mean: which, whose, and how far they lie apart (standard deviations between
    seeds)."""
    members = run.measured.members
    if not members:
        return None
    accuracy = [one.right.mean() for one in members]
    spread = {name: float(np.std([one.x[name].mean() for one in members], ddof=1)) for name in run.measured.x}
    return {
        "values": run.point.seeds,
        "runs": [one.point.run_id for one in members],
        "accuracy_sd": float(np.std(accuracy, ddof=1)),
        "nfe_sd": spread["nfe"],
        "x_sd": spread,
        "each": [
            {"seed": seed, "accuracy": float(right), "x": {name: float(one.x[name].mean()) for name in spread}}
            for seed, right, one in zip(run.point.seeds, accuracy, members, strict=True)
        ],
    }


def _differs(settings: list[dict], key: str) -> bool:
    if key == "seed":  # a point that is several seeds' mean has none
        settings = [one for one in settings if key in one]
    return len({str(one.get(key)) for one in settings}) > 1


def _follows(settings: list[dict], key: str) -> bool:
    """Whether the group's choice tells the value: `proposer.path` is the same in all runs of one proposer."""
    choice = f"choices.{key.partition('.')[0]}"
    if key == choice or not any(choice in one for one in settings):
        return False
    return all(
        not _differs([one for one in settings if one.get(choice) == value], key)
        for value in {one.get(choice) for one in settings}
    )


def _run_json(run: Result) -> dict[str, Any]:
    point, measured = run.point, run.measured
    return {
        "run_id": point.run_id,
        "folder": str(point.folder),
        "label": point.label,
        "method": point.method,
        "parameters": point.parameters,
        "remask": point.remask,
        "unmask": point.unmask,
        "variant": point.variant,
        "proposer": point.proposer,
        "backbone": point.backbone,
        "task": point.task,
        "tau": point.at if point.curve == "unmask.tau" else None,
        "curve": point.curve,
        "at": point.at,
        "shown": point.shown,
        "oracle": point.oracle,
        "autoregressive": point.autoregressive,
        "n": point.n,
        "questions": point.questions,
        "split": point.split,
        "seeds": _seeds(run),
        "circumstances": dict(point.circumstances),
        "group": run.group,
        "x": run.x,
        "x_ci95": run.x_ci95,
        "accuracy": point.accuracy,
        "accuracy_ci95": point.accuracy_ci95,
        "accuracies": {"strict": point.accuracy_strict, "flexible": point.accuracy_flexible},
        "proposal_accuracy": point.proposal_accuracy,
        "metrics": {name: float(values.mean()) for name, values in measured.x.items()},
        "aux_forwards": measured.aux_forwards,
        "tokens": None if measured.tokens is None else float(measured.tokens.mean()),
        "x_median": run.x_median,
        "x_p95": run.x_p95,
        "on_front": run.on_front,
        "undominated_share": run.undominated_share,
        "steady": run.steady,
        "is_baseline": run.is_baseline,
        "is_candidate": run.is_candidate,
        "saved": run.saved,
        "saved_reason": run.saved_reason,
        "family": family(dict(point.settings)),
        "against_others": run.against_others,
        "paired": run.paired,
        "paired_reason": run.paired_reason,
        "by_proposal": run.by_proposal,
        "calibration": measured.calibration,
        "survival": measured.survival,
        "readout": measured.readout,
        "settings": dict(point.settings),
    }
