"""Accuracy and cost over the quality of the prior."""

from __future__ import annotations

import json

import pytest

from warmexp.analysis.analysis import along, analyse
from warmexp.analysis.points import collect
from warmexp.report.export import write_front


@pytest.fixture
def study(run, tmp_path):
    """A sceptical init and a copying one over rates of two kinds, a real proposer, and cold starts at two
    thresholds."""
    for tau, nfe, correct in ((0.7, 6, 80), (0.9, 10, 82)):
        run(f"runs/cold{tau}", tau=tau, nfe=nfe, correct=correct)
    for rate, kind, nfe, correct, right in (
        (1, "swap", 7, 80, 0.0),
        (0.5, "tokens", 6.5, 79, 0.2),
        (0, "tokens", 2, 98, 1.0),
    ):
        keys = {"corruption": rate, "kind": kind, "tail": "eos"}
        words = {
            "init": "verified",
            "init_keys": {"theta": 0.98},
            "tau": 0.7,
            "proposer_keys": keys,
            "proposer": "oracle",
            "oracle": True,
        }
        run(f"runs/verified{rate}{kind}", nfe=nfe, correct=correct, proposal_accuracy_flexible=right, **words)
    for rate, correct in ((0, 97), (0.25, 60)):
        keys = {"corruption": rate, "kind": "tokens", "tail": "mask"}
        words = {
            "init": "token_inject",
            "init_keys": {"rho": 0.5},
            "proposer_keys": keys,
            "proposer": "oracle",
            "oracle": True,
        }
        run(f"runs/inject{rate}", nfe=4, correct=correct, **words)
    for name, tail in (("real", "eos"), ("other-tail", "mask")):
        words = {"init": "verified", "init_keys": {"theta": 0.98}, "tau": 0.7, "proposer_keys": {"tail": tail}}
        run(f"runs/{name}", nfe=3, correct=81, **words)
    return tmp_path / "runs"


def ids(front) -> dict[str, str]:
    return {run.point.folder.name: run.point.run_id for run in front.runs}


def test_curves(study):
    front = analyse(collect(study)[0])
    names = {run: name for name, run in ids(front).items()}
    made = {curve.label: curve for curve in front.prior_quality}
    assert list(made) == ["token_inject ρ=0.5, tokens", "verified, swap", "verified, tokens"]
    tokens = made["verified, tokens"]
    assert [(names[at.run], at.rate, at.x, at.accuracy, at.proposal_accuracy) for at in tokens.oracles] == [
        ("verified0tokens", 0, 2, 0.99, 1.0),
        ("verified0.5tokens", 0.5, 6.5, 0.8, 0.2),
    ]
    assert [names[at.run] for at in made["verified, swap"].oracles] == [
        "verified0tokens",
        "verified1swap",
    ]  # rate 0 is of every kind
    assert [(names[at.run], at.rate) for at in tokens.proposers] == [("real", None)]
    assert names[tokens.cold.run] == "cold0.7" and names[made["token_inject ρ=0.5, tokens"].cold.run] == "cold0.9"
    assert made["token_inject ρ=0.5, tokens"].proposers == () and tokens.cold.proposal_accuracy is None
    slower = along(front, "seconds").prior_quality
    assert [at.x for at in slower[-1].oracles] == pytest.approx([0.52, 0.565])


def test_methods_that_share_a_name_are_told_apart(run, tmp_path):
    for theta in (0.9, 0.98):
        for rate in (0, 1):
            words = {
                "proposer": "oracle",
                "oracle": True,
                "proposer_keys": {"corruption": rate},
                "init_keys": {"theta": theta},
            }
            run(f"runs/{theta}-{rate}", init="verified", **words)
    made = analyse(collect(tmp_path / "runs")[0]).prior_quality
    assert [curve.label for curve in made] == ["verified, tokens (theta=0.9)", "verified, tokens (theta=0.98)"]
    assert all(curve.cold is None for curve in made)


def test_files(study, tmp_path):
    front = analyse(collect(study)[0])
    paths = write_front(front, tmp_path / "out")
    assert paths["quality"].read_bytes()[:4] == b"\x89PNG"
    told = json.loads(paths["json"].read_text())["prior_quality"]
    assert [[at["rate"] for at in curve["oracles"]] for curve in told] == [[0, 0.25], [0, 1], [0, 0.5]]
    flat = analyse(
        [
            p
            for p in collect(study)[0]
            if "0.5" not in p.folder.name and "swap" not in p.folder.name and "inject" not in p.method
        ]
    )
    assert flat.prior_quality == () and "quality" not in write_front(flat, tmp_path / "out")
    assert not (tmp_path / "out" / "quality.png").exists()
