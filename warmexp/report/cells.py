"""What the tables say, as text: one row per run, one row per run against the baseline, one line of numbers per group."""

from __future__ import annotations

import math

from warmexp.analysis.axes import axis
from warmexp.analysis.result import Front, Group, Result

RUN_COLUMNS = ("method", "proposer", "τ")
_CI = "[95\u00a0%\u00a0CI]"
_NAMES = {"nfe": "NFE", "full_forward_equivalents": "full forwards", "token_forwards": "token-forwards", "seconds": "s per question"}


def run_columns(front: Front) -> tuple[str, ...]:
    cost = [f"{_NAMES[name]} {_CI}" for name in dict.fromkeys(("nfe", front.x))]
    return *RUN_COLUMNS, *cost, f"strict % {_CI}", f"flexible % {_CI}", "proposal %", "seconds", "n"


def run_cells(front: Front, run: Result) -> tuple[str, ...]:
    point = run.point
    cost = [with_interval(point.nfe, point.nfe_ci95, 1.0, 2)]
    if front.x != "nfe":
        cost.append(with_interval(run.x, run.x_ci95, 1.0, axis(front.x).digits))
    return (
        *names(run),
        *cost,
        with_interval(point.accuracy_strict, point.accuracy_strict_ci95, 100.0, 1),
        with_interval(point.accuracy_flexible, point.accuracy_flexible_ci95, 100.0, 1),
        "–" if point.proposal_accuracy is None else f"{100 * point.proposal_accuracy:.1f}",
        f"{point.seconds:.1f}",
        str(point.n),
    )


def names(run: Result) -> tuple[str, str, str]:
    point = run.point
    return point.variant, point.proposer + (" (oracle)" if point.oracle else ""), point.shown.removeprefix("τ=")


def saving_columns(front: Front) -> tuple[str, ...]:
    name = _NAMES[front.x]
    return (
        *RUN_COLUMNS,
        f"{name} saved {_CI}",
        "saved\u00a0%",
        f"{front.accuracy}\u00a0% gained {_CI}",
        "won, lost",
        "p (needed)",
        "non-inferior (needed)",
    )


def saving_cells(front: Front, run: Result) -> tuple[str, ...]:
    saved, paired = run.saved, run.paired
    first = ("–", "–")
    if saved:
        sign = {"at_least": "≥\u00a0", "at_most": "≤\u00a0", None: ""}[saved.bound]
        share = "–" if saved.saved_share is None else f"{sign}{_signed(100 * saved.saved_share, 0)}"
        digits = axis(front.x).digits
        first = (f"{sign}{_signed(saved.saved, digits)} {_open_interval(saved.ci95, digits)}", share)
    second = (run.paired_reason or "–", "", "", "")
    if paired:
        interval = tuple(100 * limit for limit in paired.accuracy_difference_ci95)
        second = (
            f"{_signed(100 * paired.accuracy_difference, 1)} {_open_interval(interval, 1)}",
            f"{paired.wins}, {paired.losses}",
            p_value(paired.mcnemar_p) + (f"\u00a0({paired.questions_needed:,})" if paired.questions_needed else ""),
            "yes" if paired.non_inferior else _unshown(paired.questions_needed_non_inferior),
        )
    return *names(run), *first, *second


def numbers_line(front: Front, group: Group) -> str:
    """The group's indicators and the point they refer to."""
    digits = axis(front.x).digits
    line = f"Hypervolume {group.hypervolume:.3f}"
    line += f" (baseline {group.baseline_hypervolume:.3f})" if group.baseline_hypervolume is not None else ""
    line += f", reference point ({group.reference_x:.{digits}f}, 0)"
    if group.aup is not None:
        line += f"; AUP {group.aup:.1f}" + (f" (baseline {group.baseline_aup:.1f})" if group.baseline_aup is not None else "")
    return line + "."


def run_notes(front: Front, runs: list[Result]) -> list[str]:
    cost = "" if front.x == "nfe" else f" by {_NAMES[front.x]}"
    name = "NFE" if front.x == "nfe" else _NAMES[front.x]
    lines = [f"Bold: not dominated{cost} (lower {name}, higher {front.accuracy} accuracy). Proposals scored by {front.accuracy} match."]
    if any(run.point.oracle for run in runs):
        lines.append("Oracle runs saw the reference solution and are kept off the front.")
    return lines


def saving_notes(front: Front) -> list[str]:
    return [
        f"Saved: what the baseline ({front.selector}) spends at the run's accuracy, on the hull of its own runs, less what the run spends.",
        "≥, ≤: the accuracy lies outside that hull, nothing is extrapolated.",
        "Gained, won, lost: question by question against the baseline run with the same settings; Tango's interval, McNemar's exact p.",
        f"Non-inferior: a net loss of less than {100 * front.margin:g} % of the questions, one-sided 95 %.",
        "Needed: how many questions it would take to show the observed difference (power 80 %).",
    ]


def with_interval(value: float, interval: tuple[float, float], scale: float, digits: int) -> str:
    low, high = (f"{scale * limit:.{digits}f}" for limit in interval)
    return f"{scale * value:.{digits}f} [{low},\u00a0{high}]"


def p_value(p: float) -> str:
    return "<\u00a00.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _open_interval(interval: tuple[float | None, float | None], digits: int) -> str:
    low, high = interval
    left = "(−∞" if low is None else f"[{_signed(low, digits)}"
    right = "∞)" if high is None else f"{_signed(high, digits)}]"
    return f"{left},\u00a0{right}"


def _unshown(questions: int | None) -> str:
    """No number of questions shows that a loss as large as the margin is smaller than the margin."""
    return "no" if questions is None else f"not\u00a0shown\u00a0({questions:,})"


def _signed(value: float, digits: int) -> str:
    """With a sign, except where it rounds to zero."""
    text = f"{abs(value):.{digits}f}"
    return text if math.isclose(float(text), 0.0) else ("−" if value < 0 else "+") + text
