"""Seconds are of a batch size, of threads, of a machine; runs of others do not compare."""

from __future__ import annotations

from warmexp.analysis.analysis import analyse
from warmexp.analysis.points import collect
from warmexp.api import run_overrides
from warmexp.studies.fold import Point, fold

HERE = {"device": "cpu", "threads": 1, "cpu": "a processor, 2 cores"}


def test_other_circumstances_are_a_caveat(run, tmp_path):
    run("a", tau=0.5, settings={"batch_size": 64, "share": "auto"}, environment=HERE)
    run("b", tau=0.7, settings={"batch_size": 64, "share": "auto"}, environment=HERE)
    assert analyse(collect(tmp_path)[0], x="seconds").caveats == ()
    run("c", tau=0.9, settings={"batch_size": 1, "share": False}, environment=HERE | {"threads": 2})
    front = analyse(collect(tmp_path)[0], x="seconds")
    (caveat,) = front.caveats
    assert (
        "batch_size 1 (1), 64 (2); share false (1), true (2); threads 1 (2), 2 (1)" in caveat
        and "do not compare" in caveat
    )
    assert "batch_size 1 or 64" in next(one.said for one in front.checklist if one.item == "Seconds")
    assert {run["circumstances"]["batch_size"] for run in front.to_json()["runs"]} == {"1", "64"}


def test_a_run_asked_for_with_another_batch_size_is_not_reused_without_a_word(quiet_home):
    said: list[str] = []
    words = ["tau=0.5", "task.limit=2", "outputs=out"]
    run_overrides([*words, "batch_size=1"], said.append)
    run_overrides([*words, "batch_size=1"], said.append)
    assert "seconds" not in said[-1]
    run_overrides([*words, "batch_size=2"], said.append)
    assert "its answers and counts are those of batch_size=2, its seconds are those of batch_size=1" in said[-1]


def test_points_that_differ_in_what_changes_only_seconds_say_so():
    points = [Point((f"batch_size={size}", "rho=0.5"), "same", None, 4, {"init": "mask"}) for size in (1, 64)]
    _, why = fold(points)
    assert (
        "batch_size changes no result, only seconds, which are those of the first" in why and "nothing under" not in why
    )
