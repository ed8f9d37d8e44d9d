"""Accuracy and cost over the quality of the prior: runs from a corrupted reference solution (`proposer=oracle`) as
curves, the cold start as the line that a prior of no worth should not fall below, and real proposers at their measured
accuracy.

A curve is a method and a kind of corruption at two rates or more. At rate 0 nothing is corrupted, so a run there is on
the curve of every kind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from warmexp.analysis.points import Setting
from warmexp.analysis.result import AtQuality, QualityCurve, Result

RATE, KIND = "proposer.corruption", "proposer.kind"
_METHOD_OF_PROPOSER = "proposer.tail"  # what is done with a proposal, not where it comes from

Settings = tuple[tuple[str, Setting], ...]


def quality_curves(runs: Sequence[Result]) -> tuple[QualityCurve, ...]:
    """Every curve among the runs of a front; none where corruption is not varied."""
    families: dict[tuple[int, Settings], list[Result]] = defaultdict(list)
    for run in runs:
        if run.point.oracle and RATE in dict(run.point.settings):
            families[run.group, _without(run, (RATE, KIND))].append(run)
    varied = {family: members for family, members in families.items() if len({_rate(run) for run in members}) > 1}
    found = []
    for (group, settings), members in varied.items():
        kin = [
            set(other)
            for (number, other), those in varied.items()
            if number == group and _variant(those) == _variant(members)
        ]
        own = ", ".join(
            f"{key.rpartition('.')[2]}={value}" for key, value in settings if (key, value) not in set.intersection(*kin)
        )
        for kind in sorted({_kind(run) for run in members if _rate(run)}):
            there = [run for run in members if not _rate(run) or _kind(run) == kind]
            if len({_rate(run) for run in there}) > 1:
                found.append(_curve(group, own, kind, there, runs))
    return tuple(found)


def _variant(members: list[Result]) -> str:
    return members[0].point.variant


def _curve(group: int, own: str, kind: str, members: list[Result], runs: Sequence[Result]) -> QualityCurve:
    by_rate = {
        _rate(run): run for run in sorted(members, key=lambda run: _kind(run) == kind)
    }  # rather the kind's own rate 0
    ordered = [by_rate[rate] for rate in sorted(by_rate)]
    method = _method(ordered[0])
    real = [run for run in runs if run.group == group and _is_real(run) and _method(run) == method]
    paired = ordered[0].paired
    cold = next((run for run in runs if paired and run.point.run_id == paired.baseline), None)
    label = f"{ordered[0].point.variant}, {kind}" + (f" ({own})" if own else "")
    return QualityCurve(group, label, kind, _at(ordered), _at(real), None if cold is None else _at([cold])[0])


def _at(runs: Iterable[Result]) -> tuple[AtQuality, ...]:
    return tuple(
        AtQuality(
            run=run.point.run_id,
            proposer=run.point.proposer,
            rate=_rate(run) if run.point.oracle else None,
            proposal_accuracy=run.point.proposal_accuracy,
            x=run.x,
            x_ci95=run.x_ci95,
            accuracy=run.accuracy,
            accuracy_ci95=run.point.accuracy_ci95,
        )
        for run in runs
    )


def _is_real(run: Result) -> bool:
    return not run.point.oracle and run.point.proposal_accuracy is not None


def _of(run: Result, key: str) -> Setting:
    return dict(run.point.settings).get(key)


def _kind(run: Result) -> str:
    return str(_of(run, KIND) or "tokens")


def _rate(run: Result) -> float:
    return float(_of(run, RATE) or 0.0)


def _without(run: Result, keys: tuple[str, ...]) -> Settings:
    return tuple((key, value) for key, value in run.point.settings if key not in keys)


def _method(run: Result) -> Settings:
    """All settings but those that say where proposals come from."""
    return tuple(
        (key, value)
        for key, value in run.point.settings
        if key != "choices.proposer" and (key == _METHOD_OF_PROPOSER or not key.startswith("proposer."))
    )
