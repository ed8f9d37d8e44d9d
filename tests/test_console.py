"""What is printed: a terminal acts on nothing that came from a file, and a console that lacks a character is no
error."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_sinks import run_main
from warmexp.console import ending, show, visible

ESCAPES = "\x1b]0;owned\x07\x1b[31mred\x9b2J\rfake\u202e\u2028"


def test_control_characters_are_made_visible():
    shown = visible(f"a{ESCAPES}b\tc\nd")
    assert shown == r"a\x1b]0;owned\x07\x1b[31mred\x9b2J\rfake\u202e\u2028b" + "\tc\nd"
    assert visible("τ=0.9 ρ=0.5, 日本語, e\u0301, \U0001f600") == "τ=0.9 ρ=0.5, 日本語, e\u0301, \U0001f600"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_console_without_a_character_gets_its_number(encoding):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    show("τ ≥ 0.5 \ud800", file=stream)
    assert raw.getvalue().endswith(b"\n") and b"\xed" not in raw.getvalue()


def test_what_others_print_is_written_too(monkeypatch):
    """Hydra's help, for one, which goes past ours."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    with ending():
        print("0 \u2013 1, \u03c4")
    assert raw.getvalue() == b"0 \\u2013 1, \\u03c4\n"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    ("where", "several"),
    [
        ("a pipe that is closed", False),
        pytest.param("a full disk", False, marks=pytest.mark.slow),
        *(pytest.param(where, True, marks=pytest.mark.slow) for where in ("a pipe that is closed", "a full disk")),
        *(pytest.param("nowhere", several, marks=pytest.mark.slow) for several in (False, True)),
    ],
)
def test_results_outlive_what_they_are_printed_on(where, several, quiet_home):
    """`| head -0`, `> file` on a full disk, standard output that was closed: all that is computed is kept, nothing is a
    traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    out = {"a pipe that is closed": writer, "a full disk": os.open("/dev/full", os.O_WRONLY), "nowhere": writer}[where]
    words = [
        sys.executable,
        "-m",
        "warmexp",
        *(["-m", "tau=0.7,0.9", "study.name=s"] if several else []),
        "task.limit=2",
    ]
    if where == "nowhere":
        words = ["sh", "-c", 'exec "$@" >&-', "sh", *words]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, text=True, timeout=300, env=env
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr and "Exception" not in done.stderr, done.stderr
    assert ("standard output cannot be written" in done.stderr) == (where == "a full disk"), done.stderr
    assert len(list(quiet_home.glob("outputs/*/summary.json"))) == 1 + several
    assert not several or (quiet_home / "outputs" / "studies" / "s" / "front" / "report.html").exists()


def test_only_one_function_prints():
    """Nothing in the package prints but `console.show`; rich prints the tables, from cells that were made visible."""
    root = Path(__file__).parents[1]
    for file in [*root.glob("warmexp/**/*.py"), *root.glob("hydra_plugins/*.py")]:
        calls = [
            node.func for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
        ]
        assert not {ast.unparse(call) for call in calls} & {"print"}, file


def test_an_id_with_escapes_does_nothing_to_the_terminal(quiet_home, monkeypatch, capfd):
    file = quiet_home / "q.jsonl"
    file.write_text(json.dumps({"id": f"q{ESCAPES}", "question": "a " * 5000, "answer": "#### 2"}) + "\n")
    assert run_main(monkeypatch, "task=jsonl", f"task.path={file}") == 2
    said = capfd.readouterr().err
    assert r"\x1b]0;owned\x07" in said and not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", said)


def test_a_folder_and_a_configuration_with_escapes_do_nothing_to_the_terminal(quiet_home, capfd):
    from warmexp.api import run_overrides
    from warmexp.front.__main__ import main

    _, folder = run_overrides(["task.limit=2", f"outputs={quiet_home}"])
    hostile = quiet_home / "runs\x1b[31m"
    hostile.mkdir()
    config = (folder / "config.yaml").read_text().replace("init: mask", f"init: {json.dumps('mask' + ESCAPES)}")
    folder = folder.rename(hostile / "run\x1b[2J")
    (folder / "config.yaml").write_text(config)
    (hostile / "no run\x1b]0;owned\x07").mkdir()
    (hostile / "no run\x1b]0;owned\x07" / "summary.json").write_text("{}")
    main([str(hostile)])
    said = "".join(capfd.readouterr())
    assert r"\x1b[31m" in said and not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", said)
