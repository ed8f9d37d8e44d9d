"""Calibration and the fate of proposals, on records small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmexp.analysis.calibration import calibrate, reliability
from warmexp.analysis.proposals import by_proposal, fates, injected
from warmexp.analysis.survival import by_trust_and_truth

PROPOSED = {
    "correct": {"strict": True},
    "proposal": {"correct_strict": True, "trust": [0.95, 0.55, 1.0]},
    "response_tokens": 4,
    "ids": [5, 6, 7, 8, 0],
    "source": ["injected", "decoded", "decoded", "decoded", "decoded"],
    "confidence": [None, 0.65, 0.85, 1.0, 0.05],  # the last one stands behind the end token
    "revocations": [[1, 1, 9, "injected", -1], [2, 2, 7, "injected", -1], [3, 2, 4, "decoded", 2]],
}
WRONG = {
    **PROPOSED,
    "correct": {"strict": False},
    "proposal": {"correct_strict": False, "trust": None},
    "source": ["injected", "injected", "decoded", "decoded", "decoded"],
    "confidence": [None, None, 0.25, 0.35, 1.0],
    "revocations": [],
}


def test_reliability_by_hand():
    made = reliability([0.05, 0.95, 0.92, 1.0, 0.95], [0, 1, 0, 1, 1])
    last = made.bins[9]
    assert (made.bins[0].n, last.n, made.bins[4].mean) == (1, 4, None)
    assert last.mean == pytest.approx(0.955) and last.right == 0.75
    assert made.ece == pytest.approx((1 * 0.05 + 4 * (0.955 - 0.75)) / 5)
    assert reliability([], []) is None


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50))
def test_reliability_against_a_loop(pairs):
    made, error = reliability(*zip(*pairs, strict=True)), 0.0
    for low in range(10):
        group = [(p, r) for p, r in pairs if min(int(p * 10), 9) == low]
        assert made.bins[low].n == len(group)
        error += abs(sum(p - r for p, r in group)) / len(pairs)
    assert made.ece == pytest.approx(error)


def test_a_simulated_forecaster_is_calibrated():
    rng = np.random.default_rng(2)
    p = rng.random(20_000)
    assert reliability(p, rng.random(20_000) < p).ece < 0.02 < 0.1 < reliability(p, rng.random(20_000) < p**2).ece


def test_what_is_calibrated():
    made = calibrate([PROPOSED, WRONG], "strict")
    confidence, trust = made["confidence"], made["trust"]
    assert (confidence.tokens.n, confidence.answers.n) == (
        5,
        2,
    )  # not the injected ones, not what follows the end token
    assert confidence.tokens.right == pytest.approx(3 / 5) and confidence.tokens.mean == pytest.approx(
        (0.65 + 0.85 + 1.0 + 0.25 + 0.35) / 5
    )
    assert [b.n for b in confidence.answers.bins] == [0, 0, 1, 0, 0, 0, 1, 0, 0, 0]  # the weakest tokens, 0.25 and 0.65
    assert (trust.tokens.n, trust.answers.n, trust.tokens.right) == (
        3,
        1,
        1.0,
    )  # an author who said nothing is not calibrated
    assert (confidence.truth, trust.truth, made["calibrated"], made["score"]) == ("answer", "answer", None, None)
    assert set(calibrate([{"correct": {"strict": True}, "proposal": None}], "strict").values()) == {None}


def test_truth_by_token():
    """Of a right proposal of two tokens and a tail of three end tokens the second token on is wrong; the tail counts
    once."""
    proposal = {"correct_strict": True, "written": 2, "right_tokens": 1, "trust": [0.95, 0.85, 0.75, 0.75, 0.75]}
    proposal |= {"calibrated": [0.35, 0.25, 0.15, 0.15, 0.15], "score": [0.65, None, 0.45, 0.05, 0.05]}
    record = {**PROPOSED, "proposal": proposal, "right_tokens": 3}
    made = calibrate([record, record], "strict")
    assert {one.truth for one in made.values()} == {"token"}
    confidence, trust, calibrated, score = (
        made[name].tokens for name in ("confidence", "trust", "calibrated", "score")
    )
    assert (confidence.n, confidence.right) == (6, pytest.approx(2 / 3))  # positions 1 and 2 are right, 3 is not
    assert (trust.n, trust.right, trust.mean) == (6, pytest.approx(1 / 3), pytest.approx(0.85))
    assert trust.ece == pytest.approx((0.05 + 0.85 + 0.75) / 3) and calibrated.ece == pytest.approx(
        (0.65 + 0.25 + 0.15) / 3
    )
    assert (made["trust"].behind_right.n, made["trust"].behind_right.ece) == (4, pytest.approx((0.05 + 0.85) / 2))
    assert made["confidence"].behind_right.n == 6 and made["score"].behind_right.n == 2
    assert (score.n, score.ece) == (4, pytest.approx((0.35 + 0.45) / 2)) and made[
        "score"
    ].answers.mean == pytest.approx(0.45)
    assert made["trust"].answers.right == 1.0
    mixed = calibrate(
        [record, {**record, "right_tokens": None}], "strict"
    )  # a task without a checker, or an earlier version
    assert mixed["confidence"].truth == "answer" and mixed["confidence"].tokens.right == 1.0


def test_survival_by_trust_and_truth():
    made = by_trust_and_truth([PROPOSED, WRONG], "strict")  # by the proposals' answers
    assert (made.truth, made.trusted) == ("answer", True)
    # position 0 stayed; 1 was revoked and another token stands there; 2 was revoked and found again
    assert [(b.low, b.n, b.kept, b.same) for b in made.right if b.n] == [
        (0.5, 1, 0, 0),
        (0.9, 1, 1, 1),
        (0.999, 1, 0, 1),
    ]
    assert [(b.low, b.n, b.kept, b.same) for b in made.wrong if b.n] == [(0.999, 2, 1, 1)]  # nothing said: trust 1
    told = PROPOSED | {"proposal": PROPOSED["proposal"] | {"right_tokens": 1}}
    made = by_trust_and_truth([told], "strict")
    assert (
        made.truth == "token"
        and [b.n for b in made.right] == [0, 0, 0, 0, 1, 0, 0, 0]
        and sum(b.n for b in made.wrong) == 2
    )
    assert by_trust_and_truth([{"proposal": None}], "strict") is None


def test_what_a_verifying_init_does_not_keep_is_lost():
    """Offered 9, 6, 7 and a tail; 9 was kept, 6 was found again, and of the tail one token counts."""
    proposal = {
        "correct_strict": True,
        "written": 3,
        "ids": [9, 6, 8, 0, 0],
        "score": [0.9, 0.8, 0.1, 0.1, 0.1],
        "trust": None,
    }
    record = {"proposal": proposal, "ids": [9, 6, 7, 0, 0], "source": ["injected", *["decoded"] * 4], "revocations": []}
    assert sorted(fates(record)) == [(0, True, True), (1, False, True), (2, False, False), (3, False, True)]


def test_survival_and_accuracy_by_proposal():
    found = injected([PROPOSED, WRONG], "strict")
    assert (found.right.n, found.right.kept, found.right.same) == (3, pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert (found.wrong.n, found.wrong.kept, found.all.n) == (2, 1.0, 5)
    assert injected([{"proposal": None}], "strict") is None
    right, proposal = np.array([1, 1, 0, 0, 1], bool), np.array([1, 1, 1, 0, 0], bool)
    made = by_proposal(right, proposal, np.array([1, 0, 0, 1, 1], bool), found)
    assert made["right"]["n"] == 3 and made["right"]["accuracy"] == pytest.approx(2 / 3)
    assert made["right"]["baseline_accuracy"] == pytest.approx(1 / 3)
    assert (made["wrong"]["accuracy"], made["wrong"]["baseline_accuracy"]) == (0.5, 1.0)
    assert made["injected"]["wrong"] == {"n": 2, "kept": 1.0, "same": 1.0}
    none = by_proposal(right, np.ones(5, bool), None, None)
    assert (
        none["wrong"] == {"n": 0, "accuracy": None, "accuracy_ci95": None, "baseline_accuracy": None}
        and none["injected"] is None
    )
