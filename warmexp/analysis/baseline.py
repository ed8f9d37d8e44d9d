"""The baseline: which runs it is, its own front, and what a run saves against that front at equal accuracy.

A warm start beats one baseline run easily, by trading accuracy for forwards as a lower threshold would. So it is compared with what the
baseline reaches by its own threshold: the upper-left convex hull of its runs in the (x, accuracy) plane. Points between two of its
corners are reachable, by tossing a coin per question for one threshold or the other, hence linear interpolation; and a hull is the
baseline at its best, so a saving is not overstated (F. Provost and T. Fawcett, "Robust classification for imprecise environments",
Machine Learning 42 (2001), §3, for the same argument about ROC curves).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.analysis.indicators import non_dominated
from warmexp.analysis.points import Point
from warmexp.analysis.resample import percentile_interval
from warmexp.errors import UserError, closest

DEFAULT = "init=mask remask=none"
_ALIASES = {"ρ": "rho", "λ": "lam", "τ": "tau", "lambda": "lam"}


def select(points: list[Point], selector: str) -> list[Point]:
    """The runs that a selector names, oracle runs never among them.

    Args:
        selector: words `key=value`, all of which must hold. A key is a config group (`init=mask`), a dotted key of the config
            (`unmask.tau=0.9`) or the last part of one (`tau=0.9`); numbers are compared as numbers.
    Raises:
        UserError: for a word without `=`, or a key that no run has.
    """
    words = [_word(word, points) for word in selector.split()]
    return [p for p in points if not p.oracle and all(_holds(dict(p.settings), key, value) for key, value in words)]


def _word(word: str, points: list[Point]) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals:
        raise UserError(f"baseline: '{word}' is not key=value, as in 'init=mask remask=none'.")
    key = _ALIASES.get(key, key)
    known = {name for p in points for full, _ in p.settings for name in (full, full.rpartition(".")[2])}
    if points and key not in known:
        raise UserError(f"baseline: no run has a key {key}{closest(key, known) or '.'}")
    return key, value


def _holds(settings: dict, key: str, value: str) -> bool:
    if f"choices.{key}" in settings:
        return _equal(settings[f"choices.{key}"], value)
    return any(_equal(held, value) for name, held in settings.items() if name == key or name.endswith(f".{key}"))


def _equal(held: object, asked: str) -> bool:
    if str(held) == asked or (held is None and asked in ("null", "none")) or (isinstance(held, bool) and str(held).lower() == asked):
        return True
    try:
        return float(held) == float(asked)
    except (TypeError, ValueError):
        return False


def hull(x: np.ndarray, accuracy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The upper-left convex hull from the cheapest to the most accurate point: x and accuracy rise, the slope falls.

    Args:
        x, accuracy: [n], n ≥ 1
    Returns:
        x and accuracy of its corners, [m] each.
    """
    keep = non_dominated(x, accuracy)
    corners: list[tuple[float, float]] = []
    for point in sorted(set(zip(x[keep].tolist(), accuracy[keep].tolist(), strict=True))):
        while len(corners) > 1 and _slope(corners[-2], corners[-1]) <= _slope(corners[-1], point):
            corners.pop()
        corners.append(point)
    return np.array([p[0] for p in corners]), np.array([p[1] for p in corners])


def _slope(a: tuple[float, float], b: tuple[float, float]) -> float:
    return (b[1] - a[1]) / (b[0] - a[0])


@dataclass(frozen=True)
class Saved:
    """What a run saves per question, in units of x, against the baseline's front at the run's accuracy; negative where it costs more.

    bound: None where the accuracy lies within the baseline's front. "at_least" where it is above all of it: the baseline's most accurate
    run is taken, and reaching more would cost it more. "at_most" where it is below: the baseline's cheapest run is taken, which is more
    accurate, and a faster setting might do for less. Nothing is extrapolated. ci95: paired bootstrap over questions of run and baseline,
    each limit taking the ends of the front at their worst; a limit is None where more than 2.5 % of the resamples leave the front on the
    side that leaves it open (above the front there is no upper limit to the saving, below it no lower one).
    """

    x_of_baseline_front_at_equal_accuracy: float
    saved: float
    saved_share: float | None  # of the baseline's x
    ci95: tuple[float | None, float | None]
    share_ci95: tuple[float | None, float | None]
    bound: str | None
    note: str | None


def savings(x: np.ndarray, accuracy: np.ndarray, base: list[int], x_star: np.ndarray, accuracy_star: np.ndarray) -> list[Saved]:
    """Savings of every run.

    Args:
        x, accuracy: [k] the runs. base: which of them are the baseline, at least one. x_star, accuracy_star: [B, k] their resampled means.
    """
    at, bounds = _equal_accuracy(x[base], accuracy[base], accuracy)
    low, high = np.empty_like(x_star), np.empty_like(x_star)
    for row, (xs, ys) in enumerate(zip(x_star, accuracy_star, strict=True)):
        hx, ha = hull(xs[base], ys[base])
        low[row] = np.interp(ys, ha, hx, left=-np.inf)
        high[row] = np.interp(ys, ha, hx, right=np.inf)
    return [_saved(at[i], x[i], bounds[i], x_star[:, i], low[:, i], high[:, i]) for i in range(len(x))]


def _equal_accuracy(x: np.ndarray, accuracy: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, list[str | None]]:
    """The baseline's x at the wanted accuracies, that of its ends beyond them, and on which side a value is only a bound."""
    hx, ha = hull(x, accuracy)
    bounds = ["at_least" if a > ha[-1] else "at_most" if a < ha[0] else None for a in wanted]
    return np.interp(wanted, ha, hx), bounds


_NOTES = {
    "at_least": "more accurate than every baseline run: compared with the most accurate one, the saving is at least this",
    "at_most": "less accurate than every baseline run: compared with the cheapest one, the saving is at most this",
}


def _saved(at: float, x: float, bound: str | None, x_star: np.ndarray, low: np.ndarray, high: np.ndarray) -> Saved:
    """low, high: [B] the baseline's x in each resample, infinite where it is open."""
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [np.where(np.isfinite(side), 1 - x_star / side, side) for side in (low, high)]
    ci95, share_ci95 = _limits(low - x_star, high - x_star), _limits(*shares)
    return Saved(float(at), float(at - x), float((at - x) / at) if at > 0 else None, ci95, share_ci95, bound, _NOTES.get(bound))


def _limits(low: np.ndarray, high: np.ndarray) -> tuple[float | None, float | None]:
    limits = percentile_interval(low)[0], percentile_interval(high)[1]
    return tuple(limit if np.isfinite(limit) else None for limit in limits)
