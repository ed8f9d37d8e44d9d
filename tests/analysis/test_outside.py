"""Points from elsewhere are seen on a front, and change nothing of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from warmexp.analysis.outside import read_outside
from warmexp.errors import UserError
from warmexp.front.__main__ import main
from warmexp.report.interactive import front_figure

HEAD = "method,model,task,accuracy,nfe,source\n"


@pytest.fixture
def runs(run, tmp_path):
    for tau, nfe, correct in ((0.5, 4, 60), (0.7, 6, 75), (0.9, 10, 80)):
        run(f"runs/cold{tau}", tau=tau, nfe=nfe, correct=correct)
    return tmp_path / "runs"


def made(folder: Path) -> dict:
    return json.loads((folder / "front" / "front.json").read_text())


def test_they_are_seen_and_nothing_depends_on_them(runs, tmp_path, capsys):
    main([str(runs)])
    before, picture = made(runs), (runs / "front" / "front.png").read_bytes()
    assert before.pop("outside") == []
    task = before["groups"][0]["task"]
    file = tmp_path / "points.csv"
    file.write_text(f"{HEAD}best,M,{task},99.5,0.5,a paper\nelsewhere,M,other,50,3,b\nno place,M,{task},50,,c\n")
    main([str(runs), "--points", str(file)])
    after = made(runs)
    assert after.pop("outside") == [
        {"label": "best, M", "task": task, "source": "a paper", "x": 0.5, "accuracy": 0.995}
    ]
    assert after == before and (runs / "front" / "front.png").read_bytes() != picture
    drawn = [trace for trace in front_figure(made(runs)).data if trace.meta == "outside"]
    assert [(list(one.x), list(one.y)) for one in drawn] == [([0.5], [99.5])] and "a paper" in drawn[0].hovertext[0]
    assert "points:" not in capsys.readouterr().out


def test_who_sees_none_is_told_why(runs, capsys):
    main([str(runs), "--points", str(Path(__file__).parents[2] / "docs" / "published.csv")])
    said = capsys.readouterr().out
    assert "points: none is of" in said and "gsm8k over nfe" in said
    assert made(runs)["outside"] == []


def test_what_is_published_can_be_read():
    found = read_outside(Path(__file__).parents[2] / "docs" / "published.csv")
    assert len(found) == 10 and all(one.source and 0 < one.accuracy < 1 for one in found)
    assert {round(one.x["nfe"], 2) for one in found if "2512.19004" in one.source} == {79.12, 51.70, 56.40}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "holds no points"),
        ("method,task\na,b\n", "lacks the column accuracy"),
        (f"{HEAD}a,b,c,x,1,s\n", "line 2: accuracy=x is not a number from 0 to 100."),
        (f"{HEAD}a,b,c,101,1,s\n", "line 2: accuracy=101 is not a number from 0 to 100."),
        (f"{HEAD}a,b,c,50,1,s\na,b,c,50,-1,s\n", "line 3: nfe=-1 is not a number"),
        (f"{HEAD}a,b,c,50,nan,s\n", "line 2: nfe=nan is not a number"),
        (f"{HEAD}a,b,c,50,1,\n", "line 2: source is empty."),
        (f"{HEAD}a,b,c\n", "line 2: accuracy is empty."),
        ("\ud800", "cannot be read as CSV in UTF-8"),
        (None, "is not a CSV file"),
    ],
)
def test_one_sentence(tmp_path, text, sentence):
    file = tmp_path / "points.csv"
    if text is not None:
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UserError) as caught:
        read_outside(file)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)
