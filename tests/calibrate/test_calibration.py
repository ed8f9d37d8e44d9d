"""The map from an author's probabilities to shares of right tokens: what it reads, what it computes, what it
refuses."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from warmexp.calibrate.examples import Examples
from warmexp.calibrate.fit import cross_validated, fit
from warmexp.errors import UserError
from warmexp.proposers.calibration import FEATURES, Calibration, features, read_calibration

CURVE = Calibration("isotonic", ("trust",), 0, x=(0.2, 0.6), y=(0.1, 0.9))


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def test_features_by_hand():
    """Four tokens of text, and two of a tail that count as one end."""
    known = features([0.9, 0.5, 0.8, 0.7, 0.6, 0.6], [False, True, False, False, False, False], written=4, back=1)
    assert known["trust"].tolist() == [0.9, 0.5, 0.8, 0.7, 0.6, 0.6]
    assert known["weakest"].tolist() == [0.9, 0.5, 0.5, 0.7, 0.6, 0.6]
    assert known["position"].tolist() == [0, 0.25, 0.5, 0.75, 1, 1]
    assert known["digit"].tolist() == [0, 1, 0, 0, 0, 0]
    assert features([0.3, 0.9, 0.9, 0.9], [False] * 4, written=4, back=2)["weakest"].tolist() == [0.3, 0.3, 0.3, 0.9]
    assert all(len(values) == 0 for values in features([], [], 0, 3).values())


def test_a_curve_by_hand():
    assert CURVE([0.0, 0.2, 0.4, 0.6, 1.0], [False] * 5, 5) == pytest.approx((0.1, 0.1, 0.5, 0.9, 0.9))
    assert CURVE([], [], 0) == ()


def test_a_line_by_hand():
    line = Calibration("logistic", ("trust", "digit"), 0, weights=(0.5, -1.0), intercept=0.25)
    expected = [1 / (1 + math.exp(-(0.25 + 0.5 * logit(0.8)))), 1 / (1 + math.exp(-(0.25 + 0.5 * logit(0.3) - 1)))]
    assert line([0.8, 0.3], [False, True], 2) == pytest.approx(expected)
    assert all(0 < p < 1 for p in line([0.0, 1.0], [False, True], 2))  # certainty has finite odds


def synthetic(questions: int = 200, tokens: int = 10, seed: int = 1) -> Examples:
    """Trust that is overconfident in the same way everywhere: right with probability trust²; the other features say
    nothing."""
    draw = np.random.default_rng(seed)
    rows = draw.random((questions * tokens, len(FEATURES)))
    right = draw.random(len(rows)) < rows[:, 0] ** 2
    return Examples(rows, right, np.repeat([f"q{i}" for i in range(questions)], tokens))


@pytest.mark.parametrize("kind", ["isotonic", "logistic"])
def test_a_known_bias_is_found(kind):
    found = synthetic()
    made = fit(found, kind, "trust", 0)
    rows = found.rows[:, [FEATURES.index(name) for name in made.features]]
    assert np.abs(made.predict(rows) - found.rows[:, 0] ** 2).mean() < 0.06
    raw, mapped = cross_validated(found, lambda part: fit(part, kind, "trust", 0))
    assert raw.ece > 0.15 and mapped.ece < 0.05 and mapped.brier < raw.brier


def test_folds_are_of_questions():
    found = synthetic(questions=11)
    seen = []

    def make(part: Examples) -> Calibration:
        counts = {name: int((part.question == name).sum()) for name in set(part.question.tolist())}
        seen.append(counts)
        return CURVE

    cross_validated(found, make)
    assert len(seen) == 5 and all(set(counts.values()) == {10} and 8 <= len(counts) <= 9 for counts in seen)


def test_nothing_to_fit_is_refused():
    found = synthetic(questions=5)
    with pytest.raises(UserError, match="all 50 tokens are right"):
        fit(replace(found, right=np.ones(50, bool)), "logistic", "trust", 0)
    with pytest.raises(UserError, match="4 questions are too few"):
        cross_validated(synthetic(questions=4), lambda part: CURVE)


@pytest.mark.parametrize("kind", ["isotonic", "logistic"])
def test_a_file_holds_the_whole_map(kind, tmp_path):
    made = fit(synthetic(40), kind, "weakest", 3)
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps(made.to_json() | {"notes": {"questions": 40}}))
    read = read_calibration(str(file))
    assert replace(read, notes=None) == made and read.sha256 == made.sha256
    assert replace(read, intercept=0.5).sha256 != made.sha256


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kind": "forest"}, "kind is forest"),
        ({"features": ["mood"]}, "features are mood"),
        ({"features": []}, "features are none"),
        ({"back": -1}, "back is -1"),
        ({"back": True}, "back is True"),
        ({"x": [0.6, 0.2]}, "no rising curve"),
        ({"x": [0.2]}, "no rising curve"),
        ({"y": [0.9, 0.1]}, "no rising curve"),
        ({"y": [0.1, 1.5]}, "no rising curve"),
        ({"y": [0.1, math.nan]}, "finite"),
        ({"features": ["trust", "digit"]}, "no rising curve"),
        ({"kind": "logistic", "weights": [1.0, 2.0]}, "one weight for each"),
        ({"x": None}, "cannot be read"),
        ({"y": ["a", "b"]}, "cannot be read"),
        ({"features": None}, "cannot be read"),
    ],
)
def test_what_is_no_map_is_refused(change, complaint, tmp_path):
    file = tmp_path / "c.json"
    file.write_text(json.dumps(CURVE.to_json() | change))
    with pytest.raises(UserError, match=rf"proposer\.calibration=.*{complaint}"):
        read_calibration(str(file))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"kind": "isotonic"}', "\x00"])
def test_what_is_no_json_of_a_map_is_refused(text, tmp_path):
    file = tmp_path / "c.json"
    file.write_text(text)
    with pytest.raises(UserError, match=r"is no calibration \(it cannot be read"):
        read_calibration(str(file))
