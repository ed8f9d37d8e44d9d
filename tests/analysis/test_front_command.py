"""`python -m warmexp.front`: the files it writes, and what it says to a user's mistake."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import pytest

from warmexp.errors import UserError
from warmexp.front.__main__ import main


@pytest.fixture
def study(run, tmp_path):
    for tau, nfe, correct in ((0.5, 4, 60), (0.7, 6, 75), (0.9, 10, 80)):
        run(f"runs/cold{tau}", tau=tau, nfe=nfe, correct=correct)
    run("runs/warm", init="token_inject", init_keys={"rho": 0.5}, nfe=5, correct=78)
    run("runs/torn", status="running")
    return tmp_path / "runs"


def test_it_writes_what_it_prints(study, tmp_path, capsys):
    main([str(study), "--accuracy", "strict", "--x", "seconds", "--reference", "2", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    content = json.loads((tmp_path / "out" / "front.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    warm = next(r for r in content["runs"] if r["method"] == "token_inject")
    assert content["x"] == "seconds" and warm["x"] == pytest.approx(0.55) and warm["metrics"]["nfe"] == 5
    assert content["hypervolume"] == pytest.approx((0.60 * 1.96 + 0.15 * 1.94 + 0.05 * 1.90) / 2)
    rows = {row["label"]: row for row in csv.DictReader((tmp_path / "out" / "front.csv").read_text().splitlines())}
    row = rows[warm["label"]]
    assert (
        len(rows) == 4
        and float(row["seconds"]) == warm["x"]
        and row["unmask.tau"] == "0.9"
        and row["paired_losses"] == "2"
    )
    assert (
        float(row["saved"]) == pytest.approx(warm["saved"]["saved"])
        and float(row["saved_low"]) == warm["saved"]["ci95"][0]
    )
    assert (tmp_path / "out" / "front.png").read_bytes()[:4] == b"\x89PNG"
    assert "s per question" in said and "status is running" in said and str(tmp_path / "out" / "front.json") in said
    main([str(study)])
    assert (study / "front" / "front.csv").is_file()
    main([str(study)])  # its own files are no runs
    assert "front.json" in capsys.readouterr().out


def test_a_study_names_its_runs(study, tmp_path, capsys):
    jobs = tmp_path / "runs" / "studies" / "s" / "jobs"
    jobs.mkdir(parents=True)
    for number, folder in enumerate(("cold0.7", "warm", None)):
        (jobs / f"{number}.json").write_text(json.dumps({"number": number, "folder": folder}))
    main([str(jobs.parent)])
    content = json.loads((jobs.parent / "front" / "front.json").read_text())
    assert len(content["runs"]) == 2 and "single point" in content["caveats"][0]
    main([str(study), "--out", str(tmp_path / "all")])
    assert len(json.loads((tmp_path / "all" / "front.json").read_text())["runs"]) == 4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--x", "second"],
            "x=second is not one of nfe, rows, full_forward_equivalents, token_forwards, guide_forwards, all_forwards, all_token_forwards, seconds, did you mean 'seconds'?",
        ),
        (["--accuracy", "loose"], "accuracy=loose is not one of strict, flexible"),
        (["--baseline", "mask"], "baseline: 'mask' is not key=value, as in 'init=mask remask=none'."),
        (["--baseline", "ini=mask"], "baseline: no run has a key ini, did you mean 'init'?"),
        (
            ["--baseline", "init=zero"],
            "baseline=init=zero matches none of the 4 runs: --baseline names the runs to beat.",
        ),
        (["--reference", "-3"], "reference=-3.0 is not above 0: it is the nfe of the hypervolume's reference point."),
        (
            ["--margin", "0"],
            "margin=0.0 is not in (0, 1]: it is how much accuracy may be lost, as a share of the questions.",
        ),
    ],
)
def test_mistakes_are_one_sentence(study, words, sentence):
    with pytest.raises(UserError) as caught:
        main([str(study), *words])
    assert str(caught.value) == sentence
    assert not (study / "front").exists()


def test_no_runs_and_no_folder(tmp_path):
    with pytest.raises(UserError, match="nowhere is not a folder"):
        main([str(tmp_path / "nowhere")])
    done = subprocess.run([sys.executable, "-m", "warmexp.front", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "holds no finished run" in done.stderr


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--out", "file/front"], "--out file/front cannot be written"),
        (["--out", "/proc/nowhere"], "--out /proc/nowhere cannot be written"),
        (["--x", "dollars"], "x=dollars"),
        (["--margin", "2"], "margin=2.0 is not in (0, 1]"),
        (["--margin", "much"], "--margin: invalid float value: 'much'"),
        (["--ouut", "x"], "unrecognized arguments: --ouut x: `python -m warmexp.front --help`"),
        ([], "required: FOLDER"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_work(words, part, study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("warmexp.front.__main__.collect", lambda *_: pytest.fail("runs were read"))
    with pytest.raises(UserError) as error:
        main([str(study), *words] if words else [])
    assert part in str(error.value)


def test_the_beginning_of_a_name_finds_a_study(study, tmp_path, capsys):
    study.rename(tmp_path / "injection_rate-task.limit=128")
    main([str(tmp_path / "injection_rate")])
    assert (tmp_path / "injection_rate-task.limit=128" / "front" / "front.json").is_file()
    (tmp_path / "injection_rate-other").mkdir()
    with pytest.raises(UserError, match="is the beginning of injection_rate-other, injection_rate-task"):
        main([str(tmp_path / "injection_rate")])
