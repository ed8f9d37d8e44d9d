"""A front's numbers again, from records.jsonl alone, by formulas and SciPy: nothing of warmexp.analysis is used.

    python -m tests.analysis.recomputed outputs/studies/trust/front/front.json

Accuracy, Wilson, NFE, median and 95th percentile, McNemar, Holm, Tango's interval, non-inferiority, the saving and the
gain at equal cost (by a linear program over mixtures of baseline runs), hypervolume (by the area under a step function)
and the share of runs off the front.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize, stats


def rows(folder: str | Path) -> list[dict[str, Any]]:
    lines = (Path(folder) / "records.jsonl").read_text(encoding="utf-8").splitlines()
    return sorted(map(json.loads, lines), key=lambda row: row["id"])


def wilson(right: int, n: int) -> tuple[float, float]:
    z = stats.norm.ppf(0.975)
    middle, half = (right + z * z / 2) / (n + z * z), z / (n + z * z) * math.sqrt(right * (n - right) / n + z * z / 4)
    return middle - half, middle + half


def tango(b: int, c: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Limits of the difference (b − c)/n: where the score, maximised over the nuisance by a numerical likelihood, meets
    the quantile."""
    z = stats.norm.ppf(0.5 + level / 2)
    edge = 1 - 1e-9

    def score(d: float) -> float:
        def unlikely(q: float) -> float:
            shares = (q + d, q, 1 - 2 * q - d)
            return -sum(k * math.log(max(p, 1e-300)) for k, p in zip((b, c, n - b - c), shares, strict=True) if k)

        low, high = max(0.0, -d), (1 - d) / 2
        q = optimize.minimize_scalar(unlikely, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
        return (b - c - n * d) / math.sqrt(n * max(2 * q + d * (1 - d), 1e-15))

    estimate = min(max((b - c) / n, -edge), edge)
    low = -1.0 if score(-edge) < z else optimize.brentq(lambda d: score(d) - z, -edge, estimate)
    high = 1.0 if score(edge) > -z else optimize.brentq(lambda d: score(d) + z, estimate, edge)
    return low, high


def cheapest_mixture(x: np.ndarray, accuracy: np.ndarray, wanted: float) -> float:
    """The least mean cost of tossing coins among runs so that the mean accuracy is at least `wanted` (cut to what they
    reach)."""
    wanted = min(wanted, float(accuracy.max()))
    found = optimize.linprog(
        x, A_ub=[-accuracy], b_ub=[-wanted + 1e-12], A_eq=[np.ones(len(x))], b_eq=[1.0], method="highs"
    )
    return float(found.fun)


def best_mixture(x: np.ndarray, accuracy: np.ndarray, spent: float) -> float:
    """The most accuracy that coins reach for at most this cost (or the cheapest run's)."""
    spent = max(spent, float(x.min()))
    found = optimize.linprog(
        -accuracy, A_ub=[x], b_ub=[spent + 1e-12], A_eq=[np.ones(len(x))], b_eq=[1.0], method="highs"
    )
    return -float(found.fun)


def dominated_area(x: np.ndarray, accuracy: np.ndarray, reference: float) -> float:
    """∫ of the best accuracy that cost t buys, for t from 0 to the reference, as a share of the rectangle."""
    edges = np.unique(np.concatenate([[0.0, reference], x[x < reference]]))
    best = [max((a for c, a in zip(x, accuracy, strict=True) if c <= low), default=0.0) for low in edges[:-1]]
    return float((np.diff(edges) * best).sum() / reference)


def check(front: dict[str, Any], close: float = 1e-9) -> int:
    """Raises AssertionError at the first number that differs; returns how many were compared."""
    compared = 0

    def same(what: str, told: float, found: float, within: float = close) -> None:
        nonlocal compared
        compared += 1
        assert math.isclose(told, found, rel_tol=within, abs_tol=within), (what, told, found)

    runs = {run["run_id"]: run for run in front["runs"] if not run["seeds"]}
    there = {name: rows(run["folder"]) for name, run in runs.items()}
    nfe = {name: np.array([row["nfe"] for row in some], float) for name, some in there.items()}
    right = {name: np.array([row["correct"][front["accuracy"]] for row in some]) for name, some in there.items()}
    adjusted: dict[int, list[str]] = {}
    for name, run in runs.items():
        same("n", run["n"], len(there[name]))
        same("accuracy", run["accuracy"], right[name].mean())
        for told, found in zip(run["accuracy_ci95"], wilson(int(right[name].sum()), len(right[name])), strict=True):
            same("Wilson", told, found)
        same("NFE", run["metrics"]["nfe"], nfe[name].mean())
        if front["x"] == "nfe":
            same("median", run["x_median"], float(np.median(nfe[name])))
            same("95th", run["x_p95"], np.sort(nfe[name])[math.ceil(0.95 * len(nfe[name])) - 1])
        pair = run["paired"]
        if pair is None or pair["baseline"] not in right or pair["test"] != "exact McNemar":
            continue
        other = right[pair["baseline"]]
        b, c, n = int((right[name] & ~other).sum()), int((~right[name] & other).sum()), len(other)
        same("wins", pair["wins"], b)
        same("losses", pair["losses"], c)
        same("McNemar", pair["mcnemar_p"], min(1.0, 2 * stats.binom.cdf(min(b, c), b + c, 0.5)) if b + c else 1.0)
        for told, found in zip(pair["accuracy_difference_ci95"], tango(b, c, n), strict=True):
            same("Tango", told, found, 1e-5)
        same("non-inferior", pair["non_inferior"], tango(b, c, n, 0.9)[0] > -front["margin"])
        same("Δ NFE", pair["nfe_difference"], (nfe[name] - nfe[pair["baseline"]]).mean())
        if pair["compared"]:
            adjusted.setdefault(run["group"], []).append(name)
    for names in adjusted.values():
        p = sorted((runs[name]["paired"]["mcnemar_p"], name) for name in names)
        highest = 0.0
        for rank, (value, name) in enumerate(p):
            highest = max(highest, min(1.0, value * (len(p) - rank)))
            same("Holm", runs[name]["paired"]["mcnemar_p_holm"], highest)
    if front["x"] == "nfe":
        for number, group in enumerate(front["groups"]):
            base = [name for name in group["baseline_runs"] if name in nfe]
            ranked = [
                n for n, run in runs.items() if run["group"] == number and not run["oracle"] and nfe[n].mean() > 0
            ]
            if ranked:
                places = np.array([nfe[n].mean() for n in ranked]), np.array([right[n].mean() for n in ranked])
                same("hypervolume", group["hypervolume"], dominated_area(*places, group["reference_x"]))
            x, accuracy = (np.array([values[name].mean() for name in base]) for values in (nfe, right))
            for name, run in runs.items():
                if run["group"] == number and run["saved"] and base:
                    at = cheapest_mixture(x, accuracy, right[name].mean())
                    same("saved", run["saved"]["saved"], at - nfe[name].mean(), 1e-6)
                    gained = right[name].mean() - best_mixture(x, accuracy, nfe[name].mean())
                    same("gained", run["saved"]["gained_at_equal_cost"]["gained"], gained, 1e-6)
    return compared


if __name__ == "__main__":
    for file in sys.argv[1:]:
        print(file, check(json.loads(Path(file).read_text(encoding="utf-8"))), "numbers are the same")
