"""When a run is stopped early: what is looked at, and what is left alone."""

from __future__ import annotations

import json

import pytest

from warmexp.studies import behind
from warmexp.studies.behind import Behind, said_behind


def record(i: int, nfe: int, right: bool) -> dict:
    return {"id": f"q{i:03}", "nfe": nfe, "correct": {"flexible": right}}


def front(monkeypatch, **runs) -> None:
    monkeypatch.setattr(behind, "read_records", lambda folder: runs[folder.name])


ORDER = [f"q{i:03}" for i in range(64)]
GOOD = [record(i, 4 + i % 2, True) for i in range(64)]


def worse(n: int, nfe: int = 2, wrong: int = 3) -> dict:
    """n records with so many forwards more than GOOD and one of `wrong` answers wrong."""
    return {r["id"]: record(i, r["nfe"] + nfe + i % 3, i % wrong > 0) for i, r in enumerate(GOOD[:n])}


@pytest.fixture
def good(monkeypatch, tmp_path):
    front(monkeypatch, good=GOOD)
    return lambda after=24: Behind(said_behind(after, ["good"]), tmp_path)


def test_a_run_that_is_worse_in_both_is_stopped_and_it_is_said_why(good):
    assert good()(ORDER, worse(23)) is None, "too few questions"
    clause = good()(ORDER, worse(24))
    assert clause.startswith("after 24 of 64 questions it lies wholly behind good (at least 2.")
    assert "less accurate, at 99 %" in clause


def test_a_run_that_is_better_in_one_is_left_alone(good):
    assert good()(ORDER, worse(24, nfe=-4)) is None
    assert good()(ORDER, {r["id"]: record(i, 9, True) for i, r in enumerate(GOOD[:24])}) is None
    assert good()(ORDER, worse(24, wrong=23)) is None, "one loss and a half shows nothing"


def test_the_verdict_depends_on_the_first_questions_and_not_on_what_is_done_besides(good):
    some = worse(24) | {r["id"]: {**r, "nfe": 1} for r in GOOD[24:40]}
    assert good()(ORDER, some) == good()(ORDER, worse(24))
    gap = {key: value for key, value in worse(40).items() if key != "q003"}
    assert good()(ORDER, gap) is None, "one of the first is still being decoded"


def test_it_is_looked_at_again_when_its_questions_have_doubled(good, monkeypatch):
    looked = []
    monkeypatch.setattr(behind, "_behind", lambda mine, theirs: looked.append(len(mine)))
    look = good(8)
    for n in range(1, 65):
        look(ORDER, worse(n))
    assert looked == [8, 16, 32], "not at the end, when all is known"


def test_a_run_on_other_questions_or_one_that_is_gone_stops_nothing(monkeypatch, tmp_path):
    front(monkeypatch, good=GOOD[:10])
    assert Behind("24,good", tmp_path)(ORDER, worse(24)) is None
    monkeypatch.undo()
    for said in ("24,gone", "24,../good", "x,good", "", "0,good"):
        assert Behind(said, tmp_path)(ORDER, worse(64)) is None


def test_a_damaged_run_stops_nothing(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "records.jsonl").write_text(json.dumps({"id": "q000"}) + "\n")
    assert Behind("1,run", tmp_path)._others == {}
