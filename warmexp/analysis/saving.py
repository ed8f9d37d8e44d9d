"""What a run saves against the baseline's own front at equal accuracy, what it gains at equal cost, and how sure that
is.

The front of the baseline is the upper-left convex hull of its runs in the (x, accuracy) plane. A point between two of
its corners is reachable by tossing a coin per question for one setting or the other, hence linear interpolation (F.
Provost and T. Fawcett, "Robust classification for imprecise environments", Machine Learning 42 (2001), §3). A setting
between the two that was not measured may lie above that chord, never below it, so where settings are sparse a saving is
overstated: `without` says by how much one setting moves it.

A hull by prices. Let accuracy cost γ ≥ 0 units of x. The run's lead over baseline run i is u_i + γ·v_i, where u_i is
how much less it costs and v_i how much more accurate it is. By linear programming's duality

    saved = max over γ of min over i of (u_i + γ·v_i),        gained = max over β of min over i of (v_i + β·u_i).

Intervals by test inversion in that form, because a bootstrap of a maximum over near ties misses the truth (on a flat
hull every resample takes the luckiest of them). With s_i(γ) the standard error of u_i + γ·v_i over questions,

    lower limit = max over γ of min over i of (u_i + γ·v_i − z·s_i(γ)),    upper limit = the same with + k·s_i(γ).

- Lower: a saving above the truth is claimed only where, at some price, the lead over every baseline run is significant,
  and so over the mixture that costs the least at the run's accuracy. Its leads at all prices are one Gaussian pair seen
  from a quarter of all directions, which z pays for: (1 − Φ(z)) + ¼·exp(−z²/2) = 2.5 %.
- Upper: at the true γ, no lead is below the truth, so all m of them are wrong together in 2.5 % at most with k = Φ⁻¹(1
  − 0.025/m).

Both hold whatever the hull looks like. They are wide where it is flat, since there the price of a point of accuracy is
not known. A difference of accuracies counts one question more that flipped than was seen (A. Agresti and Y. Min,
Statistics in Medicine 24 (2005)), so that no flip at all is not taken for certainty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from warmexp.analysis.indicators import non_dominated

MISS = 0.025  # of each limit
_PRICES = np.tan(np.linspace(0.0, np.pi / 2, 241)[:-1])
_MOST_SLOPES = 1000  # of pairs of baseline runs, whose slopes are among the prices that are tried
FAR = 1.25  # ratio of the costs of two neighbouring settings from which on the chord between them is called long

Limits = tuple[float | None, float | None]


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
class Gained:
    """How much more accurate a run is than the baseline's front at the run's own cost, as a share of the questions.

    bound: "at_least" where the run is cheaper than every baseline run (compared with the cheapest), "at_most" where it
    is dearer than all of the front (compared with the most accurate, and one that spent as much might be more
    accurate). ci95: see Saved.
    """

    gained: float
    ci95: Limits
    bound: str | None


@dataclass(frozen=True)
class Saved:
    """What a run saves per question, in units of x, against the baseline's front at the run's accuracy; negative where
    it costs more.

    bound: None where the accuracy lies within the baseline's front. "at_least" where it is above all of it: the
    baseline's most accurate run is taken, and reaching more would cost it more. "at_most" where it is below: the
    baseline's cheapest run is taken, which is more accurate, and a faster setting might do for less. Nothing is
    extrapolated. ci95: by test inversion (above); a limit is None where nothing measured bounds it: above, where no
    baseline run is significantly more accurate, below, where the cheapest one is. share_ci95: its limits as shares of
    what the baseline needs to save so much. without: lowest and highest saving with one baseline run left out; None
    where there is only one. chord: costs of the two measured baseline runs next to the point of the hull that is
    compared with, where these are corners; None on a corner or beyond the ends.
    """

    x_of_baseline_front_at_equal_accuracy: float
    saved: float
    saved_share: float | None  # of the baseline's x
    ci95: Limits
    share_ci95: Limits
    bound: str | None
    note: str | None
    without: tuple[float, float] | None
    chord: tuple[float, float] | None
    gained_at_equal_cost: Gained

    @property
    def far(self) -> bool:
        """Whether the settings beside the chord are far apart, so that one between them might take the saving away."""
        return self.chord is not None and self.chord[1] > FAR * self.chord[0]


_NOTES = {
    "at_least": "more accurate than every {} run: against the most accurate one, the saving is at least this",
    "at_most": "less accurate than every {} run: compared with the cheapest one, the saving is at most this",
}


@dataclass(frozen=True)
class Leads:
    """Of one run over m baseline runs. u: [m] how much less it costs, v: [m] how much more accurate it is; with their
    (co)variances."""

    u: np.ndarray
    v: np.ndarray
    uu: np.ndarray
    vv: np.ndarray
    uv: np.ndarray

    def swapped(self) -> Leads:
        return Leads(self.v, self.u, self.vv, self.uu, self.uv)


def savings(
    cost: np.ndarray, accuracy: np.ndarray, covariance: np.ndarray, n: np.ndarray, base: list[int],
    *, runs: Sequence[int] | None = None, miss: float = MISS, whose: str = "baseline",
) -> list[Saved]:  # fmt: skip
    """Savings of every run, or of those that are named.

    Args:
        cost, accuracy: [k] means over questions. n: [k] how many. base: which runs are the baseline, at least one.
        covariance: [2, 2, k, k], of those means over questions: the first two indices are 0 for cost and 1 for
        accuracy.
        miss: how often each limit may miss. whose: what the runs of `base` are called.
    """
    wanted = range(len(cost)) if runs is None else runs
    b = np.array(base)
    at, bounds = _equal_accuracy(cost[b], accuracy[b], accuracy)
    left_out = _left_out(cost[b], accuracy[b], accuracy, at) - cost if len(b) > 1 else None
    found = []
    for i in wanted:
        leads, saved = _leads(i, b, cost, accuracy, covariance, n), float(at[i] - cost[i])
        limits = _limits(leads, saved, miss)
        found.append(
            Saved(
                x_of_baseline_front_at_equal_accuracy=float(at[i]),
                saved=saved,
                saved_share=saved / float(at[i]) if at[i] > 0 else None,
                ci95=limits,
                share_ci95=tuple(None if s is None or cost[i] + s <= 0 else s / (float(cost[i]) + s) for s in limits),
                bound=bounds[i],
                note=None if bounds[i] is None else _NOTES[bounds[i]].format(whose),
                without=None if left_out is None else (float(left_out[:, i].min()), float(left_out[:, i].max())),
                chord=None if bounds[i] else _chord(cost[b], accuracy[b], float(at[i])),
                gained_at_equal_cost=_gained(leads, cost[i], accuracy[i], cost[b], accuracy[b], miss),
            )
        )
    return found


def _equal_accuracy(x: np.ndarray, accuracy: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, list[str | None]]:
    """The baseline's x at the wanted accuracies, that of its ends beyond them, and on which side a value is only a
    bound."""
    hx, ha = hull(x, accuracy)
    bounds = ["at_least" if a > ha[-1] else "at_most" if a < ha[0] else None for a in wanted]
    return np.interp(wanted, ha, hx), bounds


def _left_out(x: np.ndarray, accuracy: np.ndarray, wanted: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The baseline's x at the wanted accuracies without each of its runs, [m, k]. Without one that is no corner of the
    hull it is what it was, `at`."""
    corners = set(zip(*(values.tolist() for values in hull(x, accuracy)), strict=True))
    return np.array(
        [
            _equal_accuracy(np.delete(x, i), np.delete(accuracy, i), wanted)[0] if point in corners else at
            for i, point in enumerate(zip(x.tolist(), accuracy.tolist(), strict=True))
        ]
    )


def _gained(
    leads: Leads, x: float, accuracy: float, base_x: np.ndarray, base_accuracy: np.ndarray, miss: float
) -> Gained:
    hx, ha = hull(base_x, base_accuracy)
    bound = "at_least" if x < hx[0] else "at_most" if x > hx[-1] else None
    gained = float(accuracy - np.interp(x, hx, ha))
    return Gained(gained, _limits(leads.swapped(), gained, miss), bound)


def _chord(x: np.ndarray, accuracy: np.ndarray, at: float) -> tuple[float, float] | None:
    hx, _ = hull(x, accuracy)
    if np.isclose(hx, at).any():
        return None
    low, high = hx[hx < at].max(), hx[hx > at].min()
    between = np.sort(x[(x >= low) & (x <= high)])
    right = int(np.searchsorted(between, at))
    return float(between[right - 1]), float(between[right])


def _leads(i: int, b: np.ndarray, cost: np.ndarray, accuracy: np.ndarray, c: np.ndarray, n: np.ndarray) -> Leads:
    def variance(q: int) -> np.ndarray:
        return np.maximum(c[q, q, b, b] + c[q, q, i, i] - 2 * c[q, q, b, i], 0.0)

    together = c[0, 1, b, i] - c[0, 1, b, b] - c[0, 1, i, i] + c[0, 1, i, b]
    return Leads(
        cost[b] - cost[i],
        accuracy[i] - accuracy[b],
        variance(0),
        variance(1) + np.minimum(n[b], n[i]) ** -2.0,
        together,
    )


@lru_cache(maxsize=256)
def lower_z(miss: float) -> float:
    """z of (1 − Φ(z)) + ¼·exp(−z²/2) = miss, which falls with z."""
    low, high = 0.0, 40.0
    for _ in range(100):
        z = (low + high) / 2
        above = 0.5 * math.erfc(z / math.sqrt(2)) + 0.25 * math.exp(-z * z / 2) > miss
        low, high = (z, high) if above else (low, z)
    return (low + high) / 2


def _limits(leads: Leads, value: float, miss: float) -> Limits:
    """Both limits of max over γ of min over i of (u_i + γ·v_i), whose estimate is `value`."""
    k, z = NormalDist().inv_cdf(1 - miss / len(leads.u)), lower_z(miss)
    high = None if (leads.v + k * np.sqrt(leads.vv)).min() > 0 else _best(leads, k)
    first = int(leads.u.argmin())  # the cheapest baseline run, or for the gain the most accurate one
    surpassed = leads.v[first] + NormalDist().inv_cdf(1 - miss) * np.sqrt(leads.vv[first]) < 0
    low = None if surpassed else min(_best(leads, -z), _beyond(leads, z), value)
    return low, None if high is None else max(high, value)


def _best(leads: Leads, k: float) -> float:
    """max over γ of min over i of (u_i + γ·v_i + k·s_i(γ)), over a fine grid of γ that holds the slopes between the
    runs (of very many pairs every so-manieth, in the order of their slopes)."""
    scale = (np.abs(leads.u).max() + np.sqrt(leads.uu.max())) / max(
        np.abs(leads.v).max() + np.sqrt(leads.vv.max()), 1e-9
    )
    one, other = np.triu_indices(len(leads.u), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = -(leads.u[one] - leads.u[other]) / (leads.v[one] - leads.v[other])
    slopes = slopes[np.isfinite(slopes) & (slopes > 0)]
    if len(slopes) > _MOST_SLOPES:
        slopes = np.sort(slopes)[:: -(-len(slopes) // _MOST_SLOPES)]
    prices = np.concatenate([_PRICES * scale, slopes])[:, None]
    spread = np.sqrt(np.maximum(leads.uu + 2 * prices * leads.uv + prices**2 * leads.vv, 0.0))
    return float((leads.u + prices * leads.v + k * spread).min(axis=1).max())


def _beyond(leads: Leads, z: float) -> float:
    """The least lead in u over a baseline run that may be the best in v: what counts where the run surpasses all of
    them."""
    near = leads.v <= leads.v.min() + z * np.sqrt(leads.vv)
    return float((leads.u - z * np.sqrt(leads.uu))[near].min())
