"""The analysis of a set of runs, end to end from run folders."""

from __future__ import annotations

import json

import pytest

from warmexp.errors import UserError
from warmexp.front.analysis import analyse
from warmexp.front.points import collect


def test_a_front_from_folders(run, tmp_path):
    for tau, nfe, correct in ((0.5, 4, 60), (0.7, 6, 75), (0.9, 10, 80)):
        run(f"cold{tau}", tau=tau, nfe=nfe, correct=correct)
    run("warm", init="token_inject", init_keys={"rho": 0.5}, nfe=5, correct=75)
    run("cheat", init="token_inject", init_keys={"rho": 0.5}, proposer="oracle", oracle=True, nfe=2, correct=99)
    points, left_out = collect(tmp_path, "strict")
    front = analyse(points, left_out=left_out)
    by_name = {r.point.folder.name: r for r in front.runs}
    warm = by_name["warm"]
    assert {name for name, r in by_name.items() if r.on_front} == {"cold0.5", "cold0.9", "warm"}
    assert warm.saved.saved == pytest.approx(1.0) and warm.saved.saved_share == pytest.approx(1 / 6) and warm.saved.bound is None
    assert by_name["cold0.7"].saved is None and "baseline" in by_name["cold0.7"].saved_reason
    assert (warm.paired.wins, warm.paired.losses, warm.paired.baseline_label) == (0, 5, "mask τ=0.9")
    assert warm.paired.mcnemar_p == pytest.approx(2 * 0.5**5) and warm.paired.nfe_difference == pytest.approx(-5.0)
    assert by_name["cheat"].saved.bound == "at_least" and not by_name["cheat"].on_front
    text = json.dumps(front.to_json(), allow_nan=False)
    assert json.loads(text)["baseline"]["front"] == [[4, 0.6], [6, 0.75], [10, 0.8]]
    assert front.varying == ("choices.init", "choices.proposer", "unmask.tau")
    assert analyse(points).to_json()["runs"] == front.to_json()["runs"]


def test_mistakes_are_one_sentence(run, tmp_path):
    run("cold")
    points, _ = collect(tmp_path)
    with pytest.raises(UserError, match="x=forwards is not one of nfe"):
        analyse(points, x="forwards")
    with pytest.raises(UserError, match="no run has a key inti, did you mean 'init'"):
        analyse(points, baseline="inti=mask")
    with pytest.raises(UserError, match=r"margin=1\.5"):
        analyse(points, margin=1.5)
