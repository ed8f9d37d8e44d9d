"""Calibrated trust: an author's probabilities, mapped to how often such tokens were right.

`python -m warmexp.calibrate` fits the map on finished runs and writes it as JSON; `proposer.calibration=FILE` applies
it. Nothing but numbers is read from the file. Isotonic: B. Zadrozny and C. Elkan, "Transforming classifier scores into
accurate multiclass probability estimates" (KDD 2002); logistic: J. Platt, "Probabilistic outputs for support vector
machines" (1999), here with more than one feature.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from warmexp.errors import UserError
from warmexp.models.lab_files import MODELS_DIR

KINDS = ("isotonic", "logistic")
FEATURES = ("trust", "weakest", "position", "digit")
_EDGE = 1e-4  # probabilities are moved this far from 0 and 1 before their log-odds are taken


def features(trust: Sequence[float], numeric: Sequence[bool], written: int, back: int) -> dict[str, np.ndarray]:
    """What is known about n proposed tokens, [n] float64 each.

    Args:
        trust: [n] in [0, 1], the author's own. numeric: [n], whether the token's text holds a digit. written: how many
            of them are the author's text; each that follows is described like the first of them, the end. back: ≥ 0.
    Returns:
        trust: t_i. weakest: min(t_{i-back}, …, t_i), because an author that writes from left to right goes wrong from
        some token on.
        position: i / written. digit: 1 for numbers.
    """
    own = np.asarray(trust, np.float64)
    at = np.minimum(np.arange(len(own)), written)
    weakest = np.array([own[max(0, i - back) : i + 1].min() for i in range(min(len(own), written + 1))])
    return {
        "trust": own[at],
        "weakest": weakest[at],
        "position": at / max(1, written),
        "digit": np.asarray(numeric, np.float64),
    }


@dataclass(frozen=True)
class Calibration:
    """P(a proposed token is right | its features), a number in [0, 1].

    isotonic: linear between the points (x, y) of `features[0]`, y not falling, constant beyond them.
    logistic: σ(intercept + Σ_j weights_j·f_j); trust and weakest enter as log-odds.

    notes: what it was fitted on, for the reader.
    """

    kind: str
    features: tuple[str, ...]
    back: int
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    intercept: float = 0.0
    notes: dict[str, Any] | None = None

    def __call__(self, trust: Sequence[float], numeric: Sequence[bool], written: int) -> tuple[float, ...]:
        """[n] calibrated trust; the arguments are those of `features`."""
        known = features(trust, numeric, written, self.back)
        return tuple(self.predict(np.stack([known[name] for name in self.features], 1)).tolist())

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """[n, features] -> [n]."""
        if self.kind == "isotonic":
            return np.interp(rows[:, 0], self.x, self.y)
        return 1 / (1 + np.exp(-(self.intercept + design(rows, self.features) @ np.asarray(self.weights))))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def sha256(self) -> str:
        """Of what it computes."""
        content = {key: value for key, value in self.to_json().items() if key != "notes"}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def design(rows: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """[n, features]: probabilities as log-odds, the rest as it is."""
    clipped = rows.clip(_EDGE, 1 - _EDGE)
    odds = np.log(clipped / (1 - clipped))
    return np.where([name in ("trust", "weakest") for name in names], odds, rows)


def read_calibration(path: str) -> Calibration:
    """A map from its file, or `lab:trust`, the one that is shipped for the lab's proposers.

    Raises:
        UserError: the file is missing, is no JSON, or is not such a map.
    """
    file = MODELS_DIR / "trust.json" if path == "lab:trust" else Path(path).expanduser()
    if not file.is_file():
        raise UserError(
            f"proposer.calibration={path} does not exist: make it with python -m warmexp.calibrate RUN_FOLDER --out"
            f" {path}."
        )
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        made = Calibration(
            kind=raw["kind"],
            features=tuple(raw["features"]),
            back=raw["back"],
            **{key: tuple(float(value) for value in raw.get(key, ())) for key in ("x", "y", "weights")},
            intercept=float(raw.get("intercept", 0.0)),
            notes=raw.get("notes"),
        )
        wrong = _wrong(made)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, ArithmeticError) as error:
        wrong = f"it cannot be read ({error!r})"
    if wrong:
        raise UserError(
            f"proposer.calibration={path} is no calibration ({wrong}): make it with python -m warmexp.calibrate."
        )
    return made


def _wrong(made: Calibration) -> str | None:
    """What is wrong with a map, if anything."""
    unknown = [name for name in made.features if name not in FEATURES]
    numbers = np.asarray([*made.x, *made.y, *made.weights, made.intercept])
    if made.kind not in KINDS:
        return f"its kind is {made.kind}, not {' or '.join(KINDS)}"
    if unknown or not made.features:
        return f"its features are {', '.join(map(str, made.features)) or 'none'}, not of {', '.join(FEATURES)}"
    if isinstance(made.back, bool) or not isinstance(made.back, int) or made.back < 0:
        return f"its back is {made.back}, not a number of tokens"
    if not np.isfinite(numbers).all():
        return "not all of its numbers are finite"
    if made.kind == "logistic":
        return None if len(made.weights) == len(made.features) else "it does not have one weight for each feature"
    curve = len(made.features) == 1 and len(made.x) == len(made.y) > 0 and np.all(np.diff(made.x) > 0)
    rising = curve and np.all(np.diff(made.y) >= 0) and made.y[0] >= 0 and made.y[-1] <= 1
    return None if rising else "its x and y are no rising curve of one feature"
