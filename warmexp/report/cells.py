"""What the tables say, as text: one row per run, one row per run against the baseline, one line of numbers per
group."""

from __future__ import annotations

import math

from warmexp.analysis.axes import axis
from warmexp.analysis.methods import Method
from warmexp.analysis.points import apart
from warmexp.analysis.result import STEADY, Front, Group, Result
from warmexp.analysis.saving import Saved

RUN_COLUMNS = ("method", "proposer", "τ")
_CI = "[95\u00a0%\u00a0CI]"
_ALL = "[95\u00a0%, together]"
_MOST_METHODS = 8
_NAMES = {
    "nfe": "NFE",
    "rows": "rows",
    "full_forward_equivalents": "full forwards",
    "token_forwards": "token-forwards",
    "guide_forwards": "guide forwards",
    "all_forwards": "forwards and guide's",
    "all_token_forwards": "token-forwards and guide's",
    "seconds": "s per question",
}


def run_columns(front: Front) -> tuple[str, ...]:
    cost = [f"{_NAMES[name]} {_CI}" for name in dict.fromkeys(("nfe", front.x))]
    return (
        *RUN_COLUMNS,
        *cost,
        *(["guide"] if guided(front) else []),
        "median, 95th",
        f"strict % {_CI}",
        f"flexible % {_CI}",
        "proposal %",
        "seconds",
        "n",
        "undominated %",
    )


def guided(front: Front) -> bool:
    """Whether a run has consulted a guide, whose forwards then have a column beside NFE."""
    return any(_guide_forwards(run) > 0 for run in front.runs)


def _guide_forwards(run: Result) -> float:
    """Of a question, on average."""
    return float(run.measured.x["guide_forwards"].mean()) if "guide_forwards" in run.measured.x else 0.0


def run_cells(front: Front, run: Result) -> tuple[str, ...]:
    point = run.point
    cost = [with_interval(point.nfe, point.nfe_ci95, 1.0, 2)]
    if front.x != "nfe":
        cost.append(with_interval(run.x, run.x_ci95, 1.0, axis(front.x).digits))
    digits = 0 if front.x in ("nfe", "token_forwards", "all_token_forwards") else axis(front.x).digits
    return (
        *names(run),
        *cost,
        *([f"{_guide_forwards(run):.2f}"] if guided(front) else []),
        f"{run.x_median:.{digits}f}, {run.x_p95:.{digits}f}",
        with_interval(point.accuracy_strict, point.accuracy_strict_ci95, 100.0, 1),
        with_interval(point.accuracy_flexible, point.accuracy_flexible_ci95, 100.0, 1),
        "–" if point.proposal_accuracy is None else f"{100 * point.proposal_accuracy:.1f}",
        f"{point.seconds:.1f}",
        str(point.n),
        "–" if run.undominated_share is None else f"{100 * run.undominated_share:.0f}",
    )


def names(run: Result) -> tuple[str, str, str]:
    point = run.point
    name = " ".join(filter(None, (point.variant, apart(point))))
    return name, point.proposer + (" (oracle)" if point.oracle else ""), point.shown.removeprefix("τ=")


def saving_columns(front: Front) -> tuple[str, ...]:
    name = _NAMES[front.x]
    return (
        *RUN_COLUMNS,
        f"Δ {name} {_ALL}",
        f"Δ {front.accuracy}\u00a0% {_ALL}",
        "won, lost",
        "p, Holm (needed)",
        "non-inferior (needed)",
        f"{name} saved at equal accuracy {_CI}",
        "saved\u00a0%",
        "one left out",
        f"% gained at equal {name} {_CI}",
    )


def saving_cells(front: Front, run: Result) -> tuple[str, ...]:
    return *names(run), *_paired(front, run), *_saved(front, run)


def _paired(front: Front, run: Result) -> tuple[str, ...]:
    pair, digits = run.paired, axis(front.x).digits
    if pair is None:
        return run.paired_reason or "–", "", "", "", ""
    cost = pair.x_difference_simultaneous or pair.x_difference_ci95
    accuracy = pair.accuracy_difference_simultaneous or pair.accuracy_difference_ci95
    holm = "" if pair.mcnemar_p_holm is None else f", {p_value(pair.mcnemar_p_holm)}"
    return (
        f"{_signed(pair.x_difference, digits)} {_open_interval(cost, digits)}",
        f"{_signed(100 * pair.accuracy_difference, 1)} {_open_interval(_percent(accuracy), 1)}",
        f"{pair.wins}, {pair.losses}",
        p_value(pair.mcnemar_p) + holm + (f"\u00a0({pair.questions_needed:,})" if pair.questions_needed else ""),
        "yes" if pair.non_inferior else _unshown(pair.questions_needed_non_inferior),
    )


def _saved(front: Front, run: Result) -> tuple[str, ...]:
    saved, digits = run.saved, axis(front.x).digits
    if saved is None:
        return "–", "–", "–", "–"
    amount, share = _amount(saved, digits)
    gain = saved.gained_at_equal_cost
    return (
        amount + ("\u00a0!" if saved.far else ""),
        share,
        "–" if saved.without is None else " to ".join(_signed(limit, digits) for limit in saved.without),
        f"{_SIGNS[gain.bound]}{_signed(100 * gain.gained, 1)} {_open_interval(_percent(gain.ci95), 1)}",
    )


def _amount(saved: Saved, digits: int) -> tuple[str, str]:
    """In units of x with its interval, and as a share."""
    sign = _SIGNS[saved.bound]
    share = "–" if saved.saved_share is None else f"{sign}{_signed(100 * saved.saved_share, 0)}"
    return f"{sign}{_signed(saved.saved, digits)} {_open_interval(saved.ci95, digits)}", share


_SIGNS = {"at_least": "≥\u00a0", "at_most": "≤\u00a0", None: ""}


def _percent(interval: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    return tuple(None if limit is None else 100 * limit for limit in interval)


def numbers_lines(front: Front, group: Group) -> list[str]:
    """The group's indicators and the point they refer to."""
    digits = axis(front.x).digits
    line = f"Hypervolume {with_interval(group.hypervolume, group.hypervolume_ci95, 1.0, 3)}"
    if group.baseline_hypervolume is not None:
        line += f" (baseline {with_interval(group.baseline_hypervolume, group.baseline_hypervolume_ci95, 1.0, 3)})"
    lines = [f"{line}, reference point ({group.reference_x:.{digits}f}, 0)."]
    methods = [curve for curve in group.curves if len(curve.runs) > 1]
    areas = [
        f"{curve.label} {with_interval(curve.aup, curve.aup_ci95, 1.0, 1)}"
        for curve in methods
        if curve.aup is not None
    ]
    if areas and len(areas) <= _MOST_METHODS:
        lines.append(f"AUP by method: {', '.join(areas)}.")
    refused = [f"{curve.label}, {curve.aup_reason}" for curve in methods if curve.aup_reason]
    if refused and len(methods) <= _MOST_METHODS:
        lines.append(f"No AUP: {'; '.join(refused)}.")
    return lines


def run_notes(front: Front, runs: list[Result], group: Group) -> list[str]:
    cost = "" if front.x == "nfe" else f" by {_NAMES[front.x]}"
    name = "NFE" if front.x == "nfe" else _NAMES[front.x]
    lines = [
        f"Undominated: share of resamples of the questions in which no run has lower {name} and higher"
        f" {front.accuracy} accuracy{cost};"
        f" bold from {100 * STEADY:.0f} %. * in a terminal: on the front. Proposals scored by {front.accuracy} match."
    ]
    if group.split != "not named":
        lines.insert(0, f"Questions of the {group.split} split.")
    if len(group.baseline_candidates) > 1:
        lines.append(f"Baseline settings: {group.baseline_choice}.")
    if any(run.point.oracle for run in runs):
        lines.append("Oracle runs saw the reference solution and are kept off the front.")
    if any(run.point.autoregressive for run in runs):
        lines.append("Rows without a forward are their proposer alone and are kept off the front.")
    return lines


def saving_notes(front: Front, runs: list[Result]) -> list[str]:
    compared = max((run.paired.compared or 0 for run in runs if run.paired), default=0)
    lines = [
        "Δ, won, lost: question by question against the baseline run with the same settings; intervals hold together"
        f" with 95 %, p is McNemar's exact one and beside it Holm's: {compared}"
        f" run{'s were' if compared != 1 else ' was'} compared.",
        f"Saved: what the baseline ({front.selector}) spends at the run's accuracy, on the hull of its own runs, less"
        " what the run spends; a point between two runs means tossing a coin per question for one or the other.",
        "One left out: the same with each baseline run left out in turn, lowest to highest.",
        "≥, ≤: outside that hull, nothing is extrapolated.",
        f"Non-inferior: a net loss of less than {100 * front.margin:g} % of the questions, one-sided 95 %.",
        "Needed: how many questions it would take to show the observed difference (power 80 %).",
    ]
    if any(run.saved and run.saved.far for run in runs):
        lines.append(
            "!: the baseline runs beside that point are far apart, and one between them may take the saving away."
        )
    return lines


_COLD = 3  # methods without a proposal from which on a joint front says more than the baseline's own


def has_methods(group: Group) -> bool:
    return sum(one.family != "warm starts" for one in group.methods) >= _COLD


def method_columns(front: Front) -> tuple[str, ...]:
    name = _NAMES[front.x]
    return (
        "chosen",
        "family",
        "runs",
        "on front",
        "best at",
        name,
        f"{front.accuracy}\u00a0%",
        f"{name} saved against all others {_CI}",
        "saved\u00a0%",
    )


def method_cells(front: Front, method: Method, best: Result) -> tuple[str, ...]:
    """best: the method's run that the row is about."""
    saved, digits = method.saved, axis(front.x).digits
    shown = " ".join(
        filter(None, (best.point.parameters, best.point.revision.partition(" remask ")[2], names(best)[2]))
    )
    return (
        method.label,
        method.family,
        str(len(method.runs)),
        str(method.on_front),
        shown or "–",
        f"{best.x:.{digits}f}",
        f"{100 * best.accuracy:.1f}",
        *(("–", "–") if saved is None else _amount(saved, digits)),
    )


def method_notes(front: Front) -> list[str]:
    return [
        "Against all others: what the joint front of all other methods here spends at the run's accuracy, less what the"
        " run spends, question by question; a method is what was chosen, whatever its keys. Best at: the run whose"
        " lower limit is highest; a method's limits hold for all its runs together.",
        "The others are taken at all their settings, the luckiest included, so savings are rather too small.",
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
