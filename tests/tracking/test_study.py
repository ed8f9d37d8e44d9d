"""A study's own run and the backfill, with the real client offline, read back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.tracking.stored import stored
from warmexp.tracking import backfill
from warmexp.tracking.none import NoTracker
from warmexp.tracking.study import log_study
from warmexp.tracking.wandb import WandbTracker

BASELINE = "init=mask remask=none"


def front_of(study: Path) -> dict:
    return json.loads((study / "front" / "front.json").read_text())


def offline(folder: Path) -> list[Path]:
    return sorted((folder / "wandb").glob("offline-run-*"))


def test_the_front_is_one_more_run_of_the_group(outputs):
    study = outputs / "studies" / "rates"
    front = front_of(study)
    sentence = log_study(WandbTracker(project="p", mode="offline"), front, study, "rates")
    (where,) = offline(study)
    assert f"wandb sync {where}" in sentence
    found = stored(where)
    assert found["run"]["job_type"] == "study" and found["run"]["group"] == "rates" and found["run"]["project"] == "p"
    assert found["config"]["baseline"] == BASELINE and found["summary"]["hypervolume"] == front["hypervolume"]
    assert found["summary"]["front/_type"] == "table-file" and found["summary"]["front_figure/_type"] == "plotly-file"
    (file,) = (where / "files" / "media" / "table").glob("front_*.json")
    table = json.loads(file.read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert {(row["run_id"], row["x"], row["accuracy"], row["x_ci95_low"]) for row in rows} == {
        (run["run_id"], run["x"], run["accuracy"], run["x_ci95"][0]) for run in front["runs"]
    }
    assert {row["tau"] for row in rows} == {0.5, 0.9}
    (figure,) = (where / "files" / "media" / "plotly").glob("*.json")
    assert json.loads(figure.read_text())["data"]
    summaries = {f"runs/{run['run_id']}/summary.json" for run in front["runs"]}
    assert summaries | {"front.json", "front.csv", "front.png"} <= set(found["artifact"]["files"])


def test_a_front_that_cannot_be_sent_never_fails_a_study(outputs, monkeypatch):
    study = outputs / "studies" / "rates"
    assert log_study(NoTracker(), front_of(study), study, "rates") is None
    assert log_study(WandbTracker(mode="offline"), {}, study, "rates").startswith("warning: the study was not sent")
    from warmexp.report import interactive

    monkeypatch.setattr(interactive, "front_figure", lambda *_: 1 / 0)
    assert log_study(WandbTracker(mode="offline"), front_of(study), study, "rates").startswith(
        "warning: W&B tracking stopped"
    )


def test_a_file_with_a_secret_stays_out_of_the_artifact(outputs, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "thisisthesecretvalue")
    study = outputs / "studies" / "rates"
    (study / "front" / "report.html").write_text("thisisthesecretvalue")
    log_study(WandbTracker(mode="offline"), front_of(study), study, "rates")
    files = stored(offline(study)[0])["artifact"]["files"]
    assert "report.html" not in files and "front.csv" in files


def test_backfill_sends_runs_and_studies_once(outputs, capsys):
    words = [str(outputs), "--project", "p", "--offline"]
    assert backfill.main(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 4 and sum("study rates:" in line for line in said) == 1
    runs = {folder.name: offline(folder) for folder in outputs.glob("lab-mask-*")}
    assert [len(found) for found in runs.values()] == [1, 1, 1]
    groups = sorted(stored(found[0])["run"]["group"] for found in runs.values())
    assert groups == ["", "rates", "rates"]
    for name, (found,) in runs.items():
        content, summary = stored(found), json.loads((outputs / name / "summary.json").read_text())
        assert content["summary"]["nfe_mean"] == summary["nfe_mean"] and content["config"]["tau"] in (0.5, 0.7, 0.9)
        assert content["summary"]["samples/nrows"] == 4 and list((found / "files" / "media" / "images").rglob("*.png"))
    assert backfill.main(words) == 0
    said = capsys.readouterr().out
    assert said.count("is there already") == 3 and said.count("W&B has this front already") == 1
    assert all(len(offline(folder)) == 1 for folder in [*outputs.glob("lab-mask-*"), outputs / "studies" / "rates"])


def test_a_study_folder_stands_for_its_runs(outputs, capsys):
    """Also where another study, or none, has computed them."""
    study = outputs / "studies" / "later"
    shutil.copytree(outputs / "studies" / "rates" / "jobs", study / "jobs")
    assert backfill.main([str(study), "--offline"]) == 0
    assert [line.split(": ")[0].split("] ")[1].partition(" ")[2] for line in capsys.readouterr().out.splitlines()] == [
        "(study later)"
    ] * 2
    sent = [found for folder in outputs.glob("lab-mask-*") for found in offline(folder)]
    assert [stored(found)["run"]["group"] for found in sent] == ["later", "later"]


def test_one_damaged_folder_does_not_keep_the_others_at_home(outputs, capsys):
    damaged = sorted(outputs.glob("lab-mask-*"))[0]
    (damaged / "records.jsonl").write_text("{}\n")
    assert backfill.main([str(outputs), "--offline"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert [damaged.name in line for line in said if "warning: " in line] == [True] and len(said) == 4


def test_dry_run_writes_nothing(outputs, capsys):
    assert backfill.main([str(outputs), "--project", "p", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert (
        said.count("would be sent to project p, group rates") == 3 and said.count("would be sent to project p\n") == 1
    )
    assert not list(outputs.rglob("wandb*"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(["nowhere"], "nowhere is not a folder"), (["."], "no finished run here"), (["outputs"], "no API key")],
)
def test_mistakes_are_one_sentence(outputs, capsys, words, sentence):
    if words == ["."]:
        shutil.rmtree(outputs)
    assert backfill.main(words) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1


def test_every_set_of_questions_has_a_figure_of_its_own(quiet_home):
    """What was run on other questions is in another picture, and the workspace shows each."""
    from tests.analysis.conftest import write_run
    from warmexp.analysis.analysis import analyse
    from warmexp.analysis.points import collect

    folder = quiet_home / "outputs"
    study = folder / "studies" / "two"
    study.mkdir(parents=True)
    for n in (4, 6):
        for init in ("mask", "token_inject"):
            write_run(
                folder / f"{init}-{n}", init=init, n=n, correct=2, run_id=f"{init}-{n}", questions_sha256=str(n) * 64
            )
    front = analyse(collect(folder)[0]).to_json()
    assert len(front["groups"]) == 2
    log_study(WandbTracker(project="p", mode="offline"), front, study, "two")
    (where,) = offline(study)
    drawn = {}
    for file in (where / "files" / "media" / "plotly").glob("*.json"):
        figure = json.loads(file.read_text())
        runs = {name for trace in figure["data"] for name in trace.get("customdata") or ()}
        drawn[figure["layout"]["title"]["text"]] = runs
    sets = {group["name"]: group["n"] for group in front["groups"]}
    assert drawn == {name: {f"{init}-{n}" for init in ("mask", "token_inject")} for name, n in sets.items()}
    summary = stored(where)["summary"]
    assert {key for key in summary if key.endswith("/_type") and "figure" in key} == {
        f"front_figure_{number}/_type" for number in (1, 2)
    }


def test_seeds_are_one_row_and_all_their_summaries(tmp_path):
    """A point that is three seeds' mean: its spread in the table, the folder of each in the artifact."""
    from tests.analysis.conftest import write_run
    from warmexp.analysis.analysis import analyse
    from warmexp.analysis.points import collect
    from warmexp.tracking import study as tracked

    write_run(tmp_path / "cold")
    for seed in (2, 0, 1):
        run_id = {"run_id": f"warm-{seed}"}
        write_run(tmp_path / f"warm-{seed}", init="token_inject", nfe=5 + seed, settings={"seed": seed}, **run_id)
    front = analyse(collect(tmp_path)[0]).to_json()
    table = tracked._table(front)
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.data]
    (row,) = [row for row in rows if row["seeds_values"]]
    assert len(rows) == 2 and row["seeds_values"] == "0, 1, 2" and row["seeds_nfe_sd"] == pytest.approx(1)
    assert row["x"] == pytest.approx(6) and not any("each" in column for column in table.columns)
    names = set(tracked._artifact("k", front, tmp_path / "studies" / "s").manifest.entries)
    assert {f"runs/warm-{seed}/summary.json" for seed in range(3)} <= names
