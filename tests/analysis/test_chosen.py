"""The baseline is all that a cold start can choose, chosen on one split and reported on the other."""

from __future__ import annotations

import pytest

from warmexp.analysis.analysis import analyse
from warmexp.analysis.baseline import select
from warmexp.analysis.points import collect
from warmexp.report.table import markdown

#   block, τ, calibration: NFE and right, test: NFE and right. Block 24 is the better one; block 16 at 0.9 is lucky on
# the test split.
COLD = [(16, 0.5, 5, 60, 5, 60), (16, 0.9, 9, 80, 9, 85), (24, 0.5, 4, 60, 4, 60), (24, 0.9, 7, 81, 7, 80)]


@pytest.fixture
def two_splits(run):
    def write(leave_out: int = 0) -> None:
        for block, tau, x, correct, *test in COLD:
            there = {"length": {"block_length": block}}
            run(
                f"test-{block}-{tau}",
                tau=tau,
                nfe=test[0],
                correct=test[1],
                settings=there | {"task": {"split": "test"}},
            )
            if leave_out:
                leave_out -= 1
                continue
            calibration = there | {"task": {"split": "calibration"}}
            run(f"cal-{block}-{tau}", tau=tau, nfe=x, correct=correct, settings=calibration, questions_sha256="c" * 64)
        settings = {"length": {"block_length": 16}, "task": {"split": "test"}}
        run("warm", init="token_inject", init_keys={"rho": 0.5}, nfe=6, correct=80, settings=settings)

    return write


def test_a_tuned_baseline_takes_the_saving_away(two_splits, tmp_path):
    """Against block 16 alone the warm start saves two forwards; against what a cold start can choose, one."""
    two_splits()
    points, _ = collect(tmp_path, "strict")
    untuned = analyse(points, baseline="init=mask length.block_length=16")
    tuned = analyse(points)
    saved = [next(r for r in f.runs if r.point.folder.name == "warm").saved.saved for f in (untuned, tuned)]
    assert saved == pytest.approx([2.2, 1.0])
    group = tuned.groups[0]
    assert group.split == "test" and len(group.baseline_candidates) == 4 and len(group.baseline_runs) == 2
    assert group.baseline_choice == "2 of 4, the corners of the hull on 100 questions of the calibration split"
    by_name = {r.point.folder.name: r for r in tuned.runs}
    lucky = by_name["test-16-0.9"]
    assert lucky.is_candidate and not lucky.is_baseline and "was not chosen" in lucky.saved_reason
    assert (
        by_name["warm"].paired.baseline_label.startswith("mask τ=0.9")
        and by_name["warm"].paired.baseline == lucky.point.run_id
    )
    assert by_name["warm"].paired.compared == 1 and tuned.groups[1].split == "calibration"
    assert any("2 of 4" in one.said for one in tuned.checklist if one.item.startswith("Baseline"))
    rows = [line for line in markdown(tuned).splitlines() if line.startswith("| mask") or line.startswith("| **mask")]
    assert len({row.split("|")[1] + row.split("|")[3] for row in rows}) == 8 and any(
        "block_length=24" in row for row in rows
    )
    assert "(test split)" in markdown(tuned) and "(calibration split)" in markdown(tuned)


def test_settings_that_were_not_measured_on_the_calibration_split_cannot_be_chosen_there(two_splits, tmp_path):
    two_splits(leave_out=1)
    group = analyse(collect(tmp_path, "strict")[0]).groups[0]
    assert (
        len(group.baseline_runs) == 4
        and "since 1 of 4 were not measured on the calibration split" in group.baseline_choice
    )


def test_selectors_of_many_runs(two_splits, tmp_path):
    two_splits()
    points = [p for p in collect(tmp_path)[0] if p.split == "test"]
    for selector, names in (
        ("init=mask length.block_length=16,24 tau=0.9", {"test-16-0.9", "test-24-0.9"}),
        ("init=mask block_length=24 | rho=0.5", {"test-24-0.5", "test-24-0.9", "warm"}),
        ("init=mask", {f"test-{block}-{tau}" for block, tau, *_ in COLD}),
    ):
        assert {p.folder.name for p in select(points, selector)} == names, selector
