"""The analysis of a set of runs, end to end from run folders."""

from __future__ import annotations

import json

import pytest

from warmexp.analysis.analysis import analyse
from warmexp.analysis.baseline import select
from warmexp.analysis.points import collect
from warmexp.api import run_overrides
from warmexp.errors import UserError


def test_a_front_from_folders(run, tmp_path):
    for tau, nfe, correct in ((0.5, 4, 60), (0.7, 6, 75), (0.9, 10, 80)):
        run(f"cold{tau}", tau=tau, nfe=nfe, correct=correct)
    run("warm", init="token_inject", init_keys={"rho": 0.5}, nfe=5, correct=75)
    run("cheat", init="token_inject", init_keys={"rho": 0.5}, proposer="oracle", oracle=True, nfe=20, correct=99)
    points, left_out = collect(tmp_path, "strict")
    front = analyse(points, left_out=left_out)
    by_name = {r.point.folder.name: r for r in front.runs}
    warm = by_name["warm"]
    assert {name for name, r in by_name.items() if r.on_front} == {"cold0.5", "cold0.9", "warm"}
    assert (
        warm.saved.saved == pytest.approx(1.0)
        and warm.saved.saved_share == pytest.approx(1 / 6)
        and warm.saved.bound is None
    )
    assert by_name["cold0.7"].saved is None and "baseline" in by_name["cold0.7"].saved_reason
    assert (warm.paired.wins, warm.paired.losses, warm.paired.baseline_label) == (0, 5, "mask τ=0.9")
    assert warm.paired.mcnemar_p == pytest.approx(2 * 0.5**5) and warm.paired.nfe_difference == pytest.approx(-5.0)
    assert by_name["cheat"].saved.bound == "at_least" and by_name["cheat"].saved.saved == -10
    cold, hot = front.groups[0].curves
    assert (cold.label, len(cold.runs), cold.is_baseline) == ("mask", 3, True) and hot.runs == (warm.point.run_id,)
    assert cold.hypervolume == front.groups[0].baseline_hypervolume < front.groups[0].hypervolume
    assert front.groups[0].reference_x == pytest.approx(11)  # a tenth beyond the dearest run that is no oracle
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


def test_selectors(run, tmp_path):
    run("a", tau=0.9)
    run("b", tau=0.7, remask="linear")
    run("c", init="token_inject", init_keys={"rho": 0.5})
    run("d", init="token_inject", init_keys={"rho": 0.25}, oracle=True, proposer="oracle")
    points, _ = collect(tmp_path)
    for selector, names in (
        ("init=mask remask=none", {"a"}),
        ("init=mask", {"a", "b"}),
        ("tau=0.90", {"a", "c"}),
        ("unmask.tau=0.7", {"b"}),
        ("ρ=.5", {"c"}),
        ("rho=0.25", set()),  # an oracle is nobody's baseline
        ("", {"a", "b", "c"}),
    ):
        assert {p.folder.name for p in select(points, selector)} == names, selector


def test_the_partner_shares_the_threshold_and_then_is_the_most_accurate(run, tmp_path):
    for tau, correct in ((0.5, 60), (0.7, 85), (0.9, 80)):
        run(f"cold{tau}", tau=tau, correct=correct)
    run("same", init="token_inject", tau=0.5)
    run("other", init="token_inject", tau=0.6)
    points, _ = collect(tmp_path, "strict")
    partners = {r.point.folder.name: r.paired.baseline_label for r in analyse(points).runs if r.paired}
    assert partners == {"same": "mask τ=0.5", "other": "mask τ=0.7"}


def test_pooled_runs_are_paired_on_the_questions_they_share(run, tmp_path):
    run("cold", n=80, correct=40)
    run("warm", init="token_inject", n=100, correct=60, nfe=6, questions_sha256="other")
    points, _ = collect(tmp_path, "strict")
    apart = {r.point.folder.name: r for r in analyse(points).runs}
    assert apart["warm"].paired is None and "no run here matches the baseline" in apart["warm"].paired_reason
    pooled = {r.point.folder.name: r for r in analyse(points, pooled=True).runs}["warm"]
    assert (pooled.paired.n, pooled.paired.wins, pooled.paired.losses, pooled.paired.nfe_difference) == (
        80,
        20,
        0,
        -4.0,
    )
    assert pooled.by_proposal["right"]["baseline_accuracy"] is None


def test_two_models_of_one_name_are_not_compared(run, tmp_path):
    run("cold")
    run("warm", init="token_inject", model="another", nfe=5)
    points, _ = collect(tmp_path)
    assert [r.group for r in analyse(points).runs] == [0, 1] and analyse(points).runs[1].saved is None
    assert "2 different backbones" in analyse(points, pooled=True).caveats[0]


def test_several_processes_read_the_same(run, tmp_path, monkeypatch):
    run("a")
    run("b", init="token_inject")
    short = run("short") / "records.jsonl"
    short.write_text(short.read_text().splitlines()[0] + "\n")
    points, _ = collect(tmp_path)
    alone = analyse(points)
    monkeypatch.setattr("warmexp.analysis.measured._WORTH_IT", 0)
    together = analyse(points, processes=2)
    assert together.to_json() == alone.to_json() and len(alone.runs) == 2
    assert "records.jsonl has 1 questions and summary.json 100" in alone.left_out[0]


def test_records_of_an_earlier_version(run, tmp_path):
    """They lack what newer ones count: they still make a front, and an axis they do not have leaves them out with a
    sentence."""
    folder = run("old")
    rows = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    few = [{key: r[key] for key in ("id", "nfe", "correct")} for r in rows]
    (folder / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in few))
    points, _ = collect(tmp_path)
    front = analyse(points)
    told = front.to_json()["runs"][0]
    assert front.groups[0].curves[0].aup_reason == "the records do not count tokens"
    assert set(told["calibration"].values()) == {None} and told["survival"] is told["readout"] is None
    late = analyse(points, x="token_forwards")
    assert late.runs == () and "say nothing about token_forwards" in late.left_out[0]


def test_proposals_of_an_earlier_version(run, tmp_path):
    """Without verdicts, they count as text alone: the front has the run, and says nothing by the quality of its
    proposals."""
    folder = run("old", init="token_inject")
    rows = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    for row in rows:
        row["proposal"] = {"text": "5"}
    (folder / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    told = analyse(collect(tmp_path)[0]).to_json()["runs"][0]
    assert (
        told["by_proposal"] is told["survival"] is told["calibration"]["trust"] is None
        and told["calibration"]["confidence"] is not None
    )
    assert "seconds" not in told["metrics"] and told["metrics"]["nfe"] == 10


@pytest.mark.parametrize("part", ["nfe", "correct"])
def test_one_record_without_what_a_front_counts_leaves_the_run_out(run, tmp_path, part):
    run("whole")
    folder = run("bad")
    rows = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    del rows[7][part]
    (folder / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    front = analyse(collect(tmp_path)[0])
    assert [r.point.folder.name for r in front.runs] == ["whole"]
    assert f"records.jsonl, line 8 is damaged (it lacks {part})" in front.left_out[0]


def test_a_front_on_the_lab(quiet_home):
    """Real runs, end to end: the numbers of the front are those of the runs' own summaries, on every axis."""
    out = f"outputs={quiet_home / 'out'}"
    lines = [
        ["init=mask", "tau=0.5"],
        ["init=mask", "tau=0.9"],
        ["init=token_inject", "proposer=lab_strong", "rho=0.5", "remask=linear"],
    ]
    summaries = [run_overrides([*line, "task.limit=12", out])[0] for line in lines]
    points, left_out = collect(quiet_home / "out")
    front = analyse(points, x="seconds", left_out=left_out)
    assert left_out == [] and [r.point.run_id for r in front.runs] == [s["run_id"] for s in summaries]
    for result, summary in zip(front.to_json()["runs"], summaries, strict=True):
        assert result["x"] == pytest.approx(summary["seconds_total"] / 12, rel=1e-6)
        for name in ("nfe", "full_forward_equivalents", "token_forwards"):
            assert result["metrics"][name] == pytest.approx(summary[f"{name}_mean"])
        assert (
            result["accuracy"] == summary["accuracy_flexible"]
            and result["calibration"]["confidence"]["tokens"]["n"] > 50
        )
    warm = front.to_json()["runs"][2]
    bins = [one for side in ("right", "wrong") for one in warm["survival"][side]]
    assert sum(one["n"] for one in bins) == warm["by_proposal"]["injected"]["all"]["n"] > 0
    assert (
        warm["readout"]["all"]["correct"][-1] == round(12 * warm["accuracy"]) and warm["survival"]["truth"] == "token"
    )
    given = summaries[2]["accuracy_flexible_given_proposal_right"]
    assert (
        warm["by_proposal"]["right"]["accuracy"] == given
        and warm["by_proposal"]["right"]["baseline_accuracy"] is not None
    )
