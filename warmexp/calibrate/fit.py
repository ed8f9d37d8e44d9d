"""Fitting a map, and what it is worth on questions that it was not fitted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from warmexp.analysis.calibration import reliability
from warmexp.calibrate.examples import Examples
from warmexp.errors import UserError
from warmexp.proposers.calibration import FEATURES, Calibration, design

FOLDS = 5


@dataclass(frozen=True)
class Score:
    """ece: expected calibration error in ten bins. brier: mean squared error. Of probabilities in [0, 1]; 0 is best."""

    ece: float
    brier: float


def fit(examples: Examples, kind: str, feature: str, back: int) -> Calibration:
    """The map that predicts `right` best: by pool-adjacent-violators of one feature, or by a logistic regression on all
    of them.

    Raises:
        UserError: all tokens are right, or all are wrong.
    """
    from sklearn.isotonic import IsotonicRegression  # takes a second to import
    from sklearn.linear_model import LogisticRegression

    if examples.right.all() or not examples.right.any():
        raise UserError(
            f"all {len(examples.right)} tokens are {'right' if examples.right.all() else 'wrong'}: there is nothing"
            " to fit."
        )
    if kind == "isotonic":
        curve = IsotonicRegression(y_min=0, y_max=1, increasing=True).fit(
            examples.rows[:, FEATURES.index(feature)], examples.right
        )
        return Calibration(kind, (feature,), back, x=_floats(curve.X_thresholds_), y=_floats(curve.y_thresholds_))
    line = LogisticRegression(max_iter=1000).fit(design(examples.rows, FEATURES), examples.right)
    return Calibration(kind, FEATURES, back, weights=_floats(line.coef_[0]), intercept=float(line.intercept_[0]))


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def cross_validated(examples: Examples, make: Callable[[Examples], Calibration]) -> tuple[Score, Score]:
    """Raw trust, and the map made of four fifths of the questions on the remaining fifth, five times.

    Folds are of questions: the tokens of one question share their fate, and so do several runs' proposals for it.

    Raises:
        UserError: fewer than five questions.
    """
    from sklearn.model_selection import GroupKFold

    count = len(set(examples.question.tolist()))
    if count < FOLDS:
        raise UserError(
            f"{count} questions are too few to cross-validate in {FOLDS} folds: name runs on more questions."
        )
    predicted = np.empty(len(examples.right))
    for train, test in GroupKFold(FOLDS).split(examples.rows, groups=examples.question):
        made = make(Examples(examples.rows[train], examples.right[train], examples.question[train]))
        predicted[test] = made.predict(examples.rows[test][:, [FEATURES.index(name) for name in made.features]])
    return score(examples.rows[:, FEATURES.index("trust")], examples.right), score(predicted, examples.right)


def score(predicted: np.ndarray, right: np.ndarray) -> Score:
    return Score(reliability(predicted, right).ece, float(((predicted - right) ** 2).mean()))
