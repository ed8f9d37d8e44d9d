"""`python -m warmexp.runs`: runs are found by what they were asked for and by what they came to; what is deleted was
named before; a table is opened by others."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
import yaml

from warmexp.api import run_overrides
from warmexp.errors import UserError
from warmexp.locks import Lock
from warmexp.runs.__main__ import main
from warmexp.runs.catalogue import KEPT, catalogue, named


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Real runs, made once."""
    outputs = tmp_path_factory.mktemp("made") / "outputs"
    few = ["task.limit=3", f"outputs={outputs}"]
    for words in (["tau=0.7"], ["tau=0.9"], ["init=token_inject", "rho=0.5", "proposer=oracle"]):
        run_overrides([*words, *few])
    return outputs


@pytest.fixture
def outputs(made, tmp_path, monkeypatch):
    """Their copy, with a run that stopped, one that never began, and a study with a failed job."""
    folder = tmp_path / "outputs"
    shutil.copytree(made, folder)
    cold = sorted(folder.glob("lab-mask-*"))[0]
    for name, records in (("lab-mask-stopped000", 2), ("lab-mask-empty00000", 0)):
        torn = folder / name
        shutil.copytree(cold, torn)
        (torn / "summary.json").unlink()
        lines = (cold / "records.jsonl").read_text().splitlines(keepends=True)
        (torn / "records.jsonl").write_text("".join(lines[:records]))
    jobs = folder / "studies" / "mine" / "jobs"
    jobs.mkdir(parents=True)
    states = [
        {"number": 0, "overrides": [], "label": "tau=0.7", "folder": cold.name, "status": "finished"},
        {"number": 1, "overrides": [], "label": "x", "folder": "lab-mask-stopped000", "status": "failed", "reason": "disk"},
        {"number": 2, "overrides": [], "label": "rho=7", "folder": None, "status": "failed", "reason": "rho=7 is wrong"},
    ]  # fmt: skip
    for state in states:
        (jobs / f"{state['number']}.json").write_text(json.dumps(state))
    monkeypatch.chdir(tmp_path)
    return folder


def said(capsys, *words: str) -> str:
    main(list(words))
    return capsys.readouterr().out


def listed(capsys, *words: str) -> list[str]:
    """The names in the list of runs."""
    lines = said(capsys, "list", *words).splitlines()
    return [line.split()[0] for line in lines[1:] if line.startswith("lab-")]


def test_runs_are_found_by_settings(outputs, capsys):
    assert len(listed(capsys)) == 5
    (warm,) = listed(capsys, "init=token_inject", "rho>=0.3")
    assert warm.startswith("lab-token_inject-oracle-")
    assert listed(capsys, "rho=0.5") == listed(capsys, "ρ=0.50") == listed(capsys, "init=token_*") == [warm]
    assert listed(capsys, "rho>0.5") == []
    assert len(listed(capsys, "init=mask", "status=finished")) == 2
    assert len(listed(capsys, "tau=0.7,0.9", "proposer=none", "status=finished")) == 2
    assert listed(capsys, "tau=0.9", "init=mask", "nfe>0")[0] in {folder.name for folder in outputs.iterdir()}
    assert listed(capsys, "init!=mask") == [warm] and listed(capsys, "task.prompt~answer:", "rho<1") == [warm]
    assert listed(capsys, "study=mine", "status=failed") == ["lab-mask-stopped000"]


def test_states_and_reasons(outputs, capsys):
    text = said(capsys, "list")
    assert "6 runs" in text and "3 finished" in text and "2 failed" in text and "1 unfinished" in text
    assert "failed: lab-mask-stopped000: disk" in text and "rho=7 is wrong" in text and "2/3" in text
    with Lock(outputs / "lab-mask-stopped000" / ".lock"):
        assert listed(capsys, "status=running") == ["lab-mask-stopped000"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["lst"], "did you mean 'list'"),
        (["list", "rhoo=1"], "rhoo=1: no run has the key rhoo, did you mean 'rho'?"),
        (["list", "status=done"], "status=done is not one of finished"),
        (["list", "tau>high"], "tau>high: high is not a number"),
        (["list", "tau"], "tau is no condition"),
        (["list", "--sort", "nfee"], "--sort nfee: no run has the key, did you mean 'nfe'?"),
        (["show"], "show wants a run"),
        (["show", "lab-mask"], "is the beginning of 4 runs"),
        (["show", "nothing"], "nothing is no run here"),
        (["diff", "lab-token"], "diff wants two runs"),
        (["remove"], "remove wants runs"),
        (["export"], "export wants a file"),
        (["export", "runs.xlsx"], "neither .parquet nor .csv"),
        (["export", "outputs/lab.csv/x.csv", "nfe<0"], "no run to write"),
        (["--outputs", "nowhere"], "--outputs nowhere is not a folder"),
        (["--outputss", "nowhere"], "unrecognized arguments"),
    ],
)
def test_a_mistake_is_one_sentence(outputs, words, part):
    with pytest.raises(UserError) as error:
        main(words)
    assert part in str(error.value)


def test_names_may_be_short(outputs):
    runs = catalogue(outputs)
    for run in runs:
        if run.folder:
            assert named(runs, run.name) is run and named(runs, str(run.folder) + "/") is run
    assert named(runs, "lab-tok").name.startswith("lab-token_inject") and named(runs, "stopp").records == 2


def test_show_and_diff(outputs, capsys):
    first, second = listed(capsys, "init=mask", "status=finished")
    text = said(capsys, "show", first)
    assert "unmask.tau: " in text and "accuracy_flexible_ci95: " in text and "3 of 3 questions" in text
    text = said(capsys, "diff", first, second)
    assert "unmask.tau  " in text and "of 3" in text and "only A right" in text and "unmask.temperature" not in text


def test_nothing_is_deleted_that_was_not_asked_for_twice(outputs, capsys):
    text = said(capsys, "remove", "status=failed")
    assert "lab-mask-stopped000" in text and "1 would be deleted" in text
    assert (outputs / "lab-mask-stopped000").is_dir()
    with Lock(outputs / "lab-mask-stopped000" / ".lock"), pytest.raises(UserError, match="being worked on"):
        main(["remove", "stopped", "--yes"])
    assert "deleted 1" in said(capsys, "remove", "stopped", "--yes")
    assert not (outputs / "lab-mask-stopped000").exists() and len(listed(capsys, "status=finished")) == 3


def test_prune(outputs, capsys):
    (outputs / "lab-token.json.1234.part").write_text("x")
    (outputs / "studies" / "gone" / "jobs").mkdir(parents=True)
    (outputs / "studies" / "gone" / "study.json").write_text("{}")
    before = sorted(outputs.rglob("*"))
    text = said(capsys, "prune")
    assert "3 would be deleted" in text and [p for p in before if p.exists()] == before
    said(capsys, "prune", "--yes")
    assert not (outputs / "lab-mask-empty00000").exists() and not (outputs / "studies" / "gone").exists()
    assert (outputs / "lab-mask-stopped000").is_dir() and (outputs / "studies" / "mine").is_dir()
    assert not list(outputs.glob("*.part")) and said(capsys, "prune") == "nothing to delete\n"


def test_sizes_add_up(outputs, capsys):
    said(capsys)  # the list of runs is then there
    lines = said(capsys, "sizes").splitlines()
    assert any("records of runs" in line for line in lines) and "5 runs" in next(x for x in lines if "outputs," in x)


def test_a_table_is_opened_by_others(outputs, tmp_path, capsys):
    pandas = pytest.importorskip("pandas")
    assert "6 rows" in said(capsys, "export", "all.parquet")
    table = pandas.read_parquet("all.parquet").set_index("run")
    for folder in outputs.glob("*/summary.json"):
        summary, row = json.loads(folder.read_text()), table.loc[folder.parent.name]
        config = yaml.safe_load((folder.parent / "config.yaml").read_text())
        assert row["nfe_mean"] == summary["nfe_mean"] and row["nfe_ci95_low"] == summary["nfe_ci95"][0]
        assert row["unmask.tau"] == config["unmask"]["tau"] and row["init"] == config["choices"]["init"]
    said(capsys, "export", "questions.csv", "--questions", "init=mask")
    rows = list(csv.DictReader((tmp_path / "questions.csv").open()))
    assert len(rows) == 6 and {row["correct.flexible"] for row in rows} <= {"True", "False"}
    records = [json.loads(line) for line in (outputs / rows[0]["run"] / "records.jsonl").read_text().splitlines()]
    assert [float(row["nfe"]) for row in rows[:3]] == [record["nfe"] for record in records]


def test_a_cell_is_no_formula(outputs, tmp_path, capsys):
    file = sorted(outputs.glob("lab-mask-*/config.yaml"))[0]
    file.write_text(file.read_text().replace("engine: fast", 'engine: "=1+1"'))
    said(capsys, "export", "all.csv")
    assert "'=1+1" in (tmp_path / "all.csv").read_text()


def test_what_was_read_is_kept_and_read_again_where_it_changed(outputs, capsys, monkeypatch):
    listed(capsys)
    assert (outputs / KEPT).is_file()
    monkeypatch.setattr("warmexp.runs.catalogue.read_config", lambda _: pytest.fail("read again"))
    assert len(listed(capsys)) == 5
    monkeypatch.undo()
    file = sorted(outputs.glob("lab-token*/summary.json"))[0]
    file.write_text(json.dumps(json.loads(file.read_text()) | {"nfe_mean": 99.5}))
    monkeypatch.chdir(outputs.parent)
    assert listed(capsys, "nfe>99") == [file.parent.name]
    (outputs / KEPT).write_text('{"version": 1, "runs": {"lab-x": {"stamp": 3}}}')
    assert len(listed(capsys)) == 5


def test_what_is_damaged_is_named(outputs, capsys):
    folder = sorted(outputs.glob("lab-token*"))[0]
    (folder / "summary.json").write_text("{")
    assert listed(capsys, "status=damaged") == [folder.name]
    assert "summary.json is not that of a finished run" in said(capsys, "list")


def test_a_narrow_terminal_drops_columns_and_never_digits(outputs, capsys, monkeypatch):
    import os
    import sys

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_: os.terminal_size((70, 24)))
    lines = said(capsys, "list", "status=finished").splitlines()
    assert all(len(line) <= 70 for line in lines[:4]) and "NFE" in lines[0] and "unmask" not in lines[0]
    assert any(line.startswith("not shown, the terminal is narrow: ") for line in lines)
