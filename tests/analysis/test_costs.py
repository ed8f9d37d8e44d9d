"""`python -m warmexp.front.costs`: which run stands for a method, and what its row says."""

from __future__ import annotations

import pytest

from warmexp.errors import UserError
from warmexp.front.costs import main


def cells(said: str) -> dict[str, list[str]]:
    lines = [line.strip("| \n").split(" | ") for line in said.splitlines() if line.startswith("|")]
    return {" ".join(line[:2]): line[2:] for line in lines if not line[0].startswith("---")}


@pytest.fixture
def study(run, tmp_path):
    for tau, nfe, correct in ((0.5, 4, 60), (0.7, 6, 90), (0.9, 10, 95)):
        run(f"runs/cold{tau}", tau=tau, nfe=nfe, correct=correct)
    run("runs/warm", init="token_inject", init_keys={"rho": 0.5}, nfe=5, correct=78)
    run("runs/poorer", init="token_inject", init_keys={"rho": 1}, nfe=3, correct=70)
    run("runs/torn", status="running")
    return tmp_path / "runs"


def test_the_cheapest_that_is_good_enough_or_the_best(study, capsys):
    main([str(study), "--accuracy", "strict"])
    said = capsys.readouterr().out
    found = cells(said)
    assert list(found) == [
        "chosen setting",
        "`unmask=threshold` τ=0.7",
        "`init=token_inject proposer=lab_weak unmask=threshold` ρ=0.5 τ=0.9",
    ]
    assert found["`unmask=threshold` τ=0.7"][0] == "6.00" and found["`unmask=threshold` τ=0.7"][-1] == "90.0"
    assert "5 runs" in said and "status is running" in said
    main([str(study), "--accuracy", "strict", "--at", "0.95"])
    assert cells(capsys.readouterr().out)["`unmask=threshold` τ=0.9"][0] == "10.00"
    main([str(study), "--accuracy", "strict", "--at", "0.7"])
    assert list(cells(capsys.readouterr().out))[1].startswith(
        "`init=token_inject proposer=lab_weak unmask=threshold` ρ=1"
    )


def test_other_questions_have_a_table_of_their_own(study, run, capsys):
    run("runs/other", questions_sha256="r" * 64, n=40, nfe=7, correct=30)
    main([str(study), "--accuracy", "strict"])
    said = capsys.readouterr().out
    assert said.count("| chosen |") == 2 and "40 " in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--at", "1.5"], "--at=1.5"),
        (["--accuracy", "loose"], "accuracy=loose"),
        (["nowhere"], "nowhere is not a folder"),
    ],
)
def test_what_it_refuses(study, words, sentence):
    with pytest.raises(UserError, match=sentence):
        main([str(study), *words])


def test_no_runs(tmp_path):
    with pytest.raises(UserError, match="holds no finished run"):
        main([str(tmp_path)])
