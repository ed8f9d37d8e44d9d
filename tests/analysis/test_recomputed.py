"""The front against an independent recomputation from the records (recomputed.py)."""

from __future__ import annotations

import pytest

from tests.analysis.recomputed import check
from warmexp.analysis.analysis import analyse
from warmexp.analysis.points import collect


def test_every_number_is_found_again(run, tmp_path):
    for i, (tau, nfe, correct) in enumerate(((0.5, 4, 60), (0.7, 6, 75), (0.8, 7, 74), (0.9, 10, 80))):
        run(f"cold{tau}", tau=tau, nfe=nfe, correct=correct, shift=3 * i)
    for i, (nfe, correct) in enumerate(((5, 78), (8, 70), (3, 55), (11, 82), (7, 79))):
        run(f"warm{i}", init="token_inject", init_keys={"rho": i / 10}, nfe=nfe, correct=correct, shift=7 * i)
    run("cheat", init="token_inject", init_keys={"rho": 0.5}, proposer="oracle", oracle=True, nfe=3, correct=99)
    front = analyse(collect(tmp_path, "strict")[0]).to_json()
    assert check(front) > 100
    front["runs"][-2]["saved"]["saved"] += 0.01
    with pytest.raises(AssertionError, match="saved"):
        check(front)


@pytest.mark.slow
def test_real_runs(lab_study):
    for accuracy in ("strict", "flexible"):
        assert check(analyse(collect(lab_study, accuracy)[0]).to_json()) > 50
