"""Folders that are damaged or strange: the front shows what is whole and says of the rest why it is left out."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from warmexp.analysis.analysis import analyse
from warmexp.analysis.points import collect
from warmexp.errors import UserError
from warmexp.front.__main__ import main
from warmexp.report import export
from warmexp.report.figure import front_picture

# what becomes of a record's line -> what the reason must say
LINES = {
    "[]": "an object",
    "null": "an object",
    "": "line 3 is damaged",
    "{": "JSON",
    '{"id": "lab-2"}': "lacks nfe, correct",
    '{"nfe": 2}': "Field required",
    "[" * 100_000: "recursion",
}
VALUES = [
    ("seconds", float("nan"), "seconds"),
    ("seconds", -1.0, "seconds: Input should be greater"),
    ("seconds", "1", "seconds"),
    ("nfe", float("inf"), "nfe"),
    ("nfe", None, "nfe"),
    ("nfe", 10**400, "nfe: "),
    ("id", 7, "id"),
    ("id", "lab-0", "same question as line 1"),
    ("correct", {"strict": 1, "flexible": True}, "correct.strict"),
    ("correct", [], "correct"),
    ("ids", [1, "x"], "ids.1"),
    ("ids", [1], "not as long as ids"),
    ("confidence", [2.0, 0.1, 0.1, 0.1], "confidence.0"),
    ("revocations", [[1, 9, 5, "x", -1]], "behind"),
    ("source", ["decoded"], "source"),
    ("proposal", {"seconds": 1}, "proposal.correct_strict"),
    ("proposal", 5, "proposal"),
]


def write(run: Path, at: int, line: str) -> None:
    lines = (run / "records.jsonl").read_text().splitlines()
    lines[at] = line
    (run / "records.jsonl").write_text("\n".join(lines) + "\n")


def left(root: Path) -> list[str]:
    """The one run that is whole is shown; the reasons of the others."""
    points, left_out = collect([root])
    front = analyse(points, left_out=left_out)
    assert [r.point.folder.name for r in front.runs] == ["whole"]
    return list(front.left_out)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:12])
def test_one_bad_line(run, tmp_path, line):
    run("whole")
    write(run("bad"), 2, line)
    (reason,) = left(tmp_path)
    assert (
        f"{tmp_path}/bad/records.jsonl, line 3 is damaged" in reason
        and "remove that line" in reason
        and LINES[line] in reason
    )
    assert len(reason) < 600


@pytest.mark.parametrize(("key", "value", "why"), VALUES)
def test_one_wrong_value(run, tmp_path, key, value, why):
    run("whole")
    bad = run("bad", init="token_inject")
    record = json.loads((bad / "records.jsonl").read_text().splitlines()[4])
    write(bad, 4, json.dumps({**record, key: value}))
    (reason,) = left(tmp_path)
    assert "line 5 is damaged" in reason and why in reason, reason


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"n": "100"}, "n: "),
        ({"n": 99}, "has 100 questions and summary.json 99"),
        ({"run_id": "../x"}, "run_id"),
        ({"run_id": 7}, "run_id"),
        ({"nfe_mean": float("nan")}, "NaN"),
        ({"seconds_total": -1}, "seconds_total"),
        ({"accuracy_flexible": 75}, "accuracy_flexible"),
        ({"nfe_ci95": [1]}, "nfe_ci95"),
        ({"status": ["finished"]}, "status"),
        ({"accuracy_strict": None}, "accuracy_strict"),
    ],
)
def test_a_wrong_summary(run, tmp_path, change, why):
    run("whole")
    summary = run("bad") / "summary.json"
    summary.write_text(json.dumps(json.loads(summary.read_text()) | change))
    (reason,) = left(tmp_path)
    assert reason.startswith(f"{tmp_path}/bad") and why in reason, reason


def test_strange_files(run, tmp_path):
    """A pipe, a device, a folder or a link in a circle under a file's name; links between folders: nothing waits,
    nothing is read twice."""
    run("whole")
    for name, file in (
        ("pipe", "summary.json"),
        ("pipe2", "records.jsonl"),
        ("device", "records.jsonl"),
        ("folder", "summary.json"),
    ):
        path = run(name) / file
        path.unlink()
        if name.startswith("pipe"):
            os.mkfifo(path)
        elif name == "device":
            path.symlink_to("/dev/zero")
        else:
            path.mkdir()
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "circle").symlink_to("circle")
    deep = tmp_path
    for _ in range(1200):  # deeper than Python's own stack
        deep = deep / "d"
    subprocess.run(["mkdir", "-p", str(deep)], check=True)
    (tmp_path / "d" / "up").symlink_to("..")
    try:
        reasons = left(tmp_path)
    finally:  # too deep for pytest to clear away
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)
    for name in ("pipe", "pipe2", "device", "folder", "circle"):
        assert any(f"/{name}" in reason for reason in reasons), (name, reasons)


def test_torn_job_files_are_named_and_their_neighbours_shown(run, tmp_path):
    jobs = tmp_path / "studies" / "s" / "jobs"
    jobs.mkdir(parents=True)
    run("whole")
    for name, text in {
        "0": '{"folder": "whole"}',
        "1": '{"fold',
        "2": "[]",
        "3": '{"folder": "../../etc"}',
        "4": '{"folder": 5}',
        "5": "",
    }.items():
        (jobs / f"{name}.json").write_text(text)
    reasons = left(jobs.parent)
    assert len(reasons) == 5 and all(f"jobs/{i}.json" in reason for i, reason in enumerate(reasons, 1))


def test_pictures_on_a_full_disk(run, tmp_path, monkeypatch):
    front = analyse(collect([run("whole")])[0])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"front.png cannot be written \(No space left on device\): free some space"):
        front_picture(front, tmp_path / "front.png")
    assert not list(tmp_path.glob("*.png*"))


def test_the_table_is_shown_where_the_files_cannot_be_written(run, tmp_path, monkeypatch, capsys):
    run("whole")

    def full(file, *_):
        raise UserError(f"{file} cannot be written (No space left on device)")

    monkeypatch.setattr(export, "write_text", full)
    with pytest.raises(UserError, match="cannot be written"):
        main([str(tmp_path / "whole")])
    assert "NFE" in capsys.readouterr().out


def test_names_that_look_like_formulas_are_drawn_as_they_are(run, tmp_path):
    front = analyse(collect([run("a", proposer="$x^{", init="token_inject"), run("b")])[0])
    assert front_picture(front, tmp_path / "front.png").stat().st_size > 1000


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX alone")
def test_a_folder_whose_name_is_no_text(run, tmp_path, capsys):
    """All files of the front are written, in UTF-8."""
    folder = run("runs/whole")
    try:
        os.rename(folder, os.fsencode(folder.parent) + b"/whole-\xff\xfe")
    except OSError:
        pytest.skip("this file system has no such names")
    main([str(tmp_path / "runs")])
    for name in ("front.json", "front.csv", "report.html"):
        (tmp_path / "runs" / "front" / name).read_bytes().decode("utf-8")
    packed = re.findall(
        r'<script type="text/plain" id="[\w-]+">([^<]*)<', (tmp_path / "runs" / "front" / "report.html").read_text()
    )
    assert all(json.loads(gzip.decompress(base64.b64decode(block)).decode("utf-8")) is not None for block in packed)


@pytest.mark.parametrize(
    "encoding", ["ascii", *(pytest.param(name, marks=pytest.mark.slow) for name in ("latin-1", "cp1252"))]
)
def test_a_console_that_is_not_utf8(run, tmp_path, encoding):
    """τ and ± are no letters there; the front is written and said all the same."""
    run("runs/whole")
    run("runs/warm", init="token_inject", init_keys={"rho": 0.5}, nfe=5, correct=78)
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "warmexp.front", str(tmp_path / "runs")],
        capture_output=True,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert b"report: " in done.stdout and (tmp_path / "runs" / "front" / "report.html").is_file()
