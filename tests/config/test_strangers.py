"""Configuration files from somebody else: whatever they hold, one sentence that names the file, and soon."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.test_sinks import run_main
from warmexp.api import composed
from warmexp.config.strangers import check_file
from warmexp.errors import UserError


@pytest.fixture
def file(quiet_home) -> Path:
    folder = quiet_home / "conf" / "experiment"
    folder.mkdir(parents=True)
    return folder / "own.yaml"


def said_of(file: Path, monkeypatch, capfd, content: str | bytes, *words: str) -> str:
    text = content if isinstance(content, bytes) else f"# @package _global_\n{content}\n".encode()
    file.write_bytes(text)
    status = run_main(
        monkeypatch, *words, "--config-dir", str(file.parents[1]), "experiment=own", "task.limit=1", "tau=0.5"
    )
    said = capfd.readouterr().err
    assert status == 2 and said.startswith("warmexp: ") and said.count("\n") == 1 and "Traceback" not in said, said
    assert len(said) > 60, "it says something"
    return said


LEVELS = "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
BOMB = f"a: &a [{', '.join('1' * 10)}]\n{LEVELS}"
BROKEN: dict[str, str | bytes] = {
    "an alias bomb": BOMB,
    "a bomb of mappings": "a: &a {x: 1, y: 1}\n" + "".join(
        f"{b}: &{b} {{x: *{a}, y: *{a}, z: *{a}, w: *{a}}}\n" for a, b in zip("abcdefghijklmno", "bcdefghijklmnop", strict=True)
    ),
    "an alias inside itself": "tau: &a {x: *a}",
    "a list inside itself": "a: &a [*a]",
    "Latin-1": b"# @package _global_\ntask: {prompt: '\xe9 {question}'}\n",
    "UTF-16": "tau: 0.5\n".encode("utf-16"),
    "a null character": "tau: 0.5 \x00",
    "more than a megabyte": "#" * 2**20,
    "deep nesting": "a: " + "[" * 200 + "]" * 200,
    "a list": "[1, 2]",
    "a word": "tau",
    "a null key": "null: 3",
    "hydra: null": "hydra: null",
    "hydra: []": "hydra: []",
    "defaults: 7": "defaults: 7",
    "defaults: {}": "defaults: {a: b}",
    "an empty default": "defaults: [{}]",
    "a default of two": "defaults: [{task: lab, init: mask}]",
    "a default that is a number": "defaults: [{optional task: 7}]",
    "no such date": "a: 2020-13-45",
    "a number to the base of sixty": "a: 1" + ":1" * 499_000,
    "one beyond every float": "a: 1" + ":1" * 300 + ".5",
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_none(name, file, monkeypatch, capfd):
    said = said_of(file, monkeypatch, capfd, BROKEN[name])
    assert str(file) in said and "correct the file" in said


ELSEWHERE = {
    "defaults: [own]": "refers to itself",
    "task: {1: 2}": "task.1 is not a key of task",
    "task: []": "a list stands where there are keys",
    "hydra: {job: {env_set: [a]}}": "a list stands where there are keys",
    "defaults: [/nowhere/none]": "there is no file of that name",
}


@pytest.mark.parametrize("text", ELSEWHERE)
@pytest.mark.parametrize("words", [[], ["-m"]])
def test_what_hydra_stumbles_over(text, words, file, monkeypatch, capfd):
    assert ELSEWHERE[text] in said_of(file, monkeypatch, capfd, text, *words)


@pytest.mark.parametrize(
    ("line", "count", "said"),
    [
        ("z{}: {{a: '${{task.z{}}}', b: '${{..z{}}}'}}", 60, r"task.z\d+ refers to what refers to more"),
        ("z{}: '${{.z{}}}' # {}", 1000, "goes through hundreds of others"),
    ],
)
def test_references_to_references(line, count, said, file, monkeypatch, capfd):
    """OmegaConf would follow each of them as often as it stands somewhere: 2⁶⁰ times."""
    lines = "".join(f"  {line.format(n, n + 1, n + 1)}\n" for n in range(count))
    assert re.search(said, said_of(file, monkeypatch, capfd, f"task:\n{lines}  z{count}: x"))


def test_files_are_written_where_the_command_line_says(file, monkeypatch, capfd):
    elsewhere = file.parents[2] / "elsewhere"
    said = said_of(file, monkeypatch, capfd, f"hydra: {{output_subdir: {elsewhere}}}")
    assert "hydra.output_subdir=" in said and not elsewhere.exists()
    composed([f"hydra.output_subdir={elsewhere}"])


def test_a_file_may_not_copy_the_environment(file, monkeypatch, capfd):
    """Nor is what it would copy said in the refusal."""
    monkeypatch.setenv("MY_PLAIN_NAME", "somebody")
    said = said_of(file, monkeypatch, capfd, "hydra: {job: {env_copy: [MY_PLAIN_NAME]}}")
    assert "hydra.job.env_copy=" in said and "somebody" not in said
    composed(["hydra.job.env_copy=[MY_PLAIN_NAME]"])


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    for name in ("pipe.yaml", "zero.yaml"):
        with pytest.raises(UserError, match="not a regular file"):
            check_file(tmp_path / name)


def test_anchors_that_stand_for_little_are_read(file):
    file.write_text("# @package _global_\ntask: {stop: &s ['Question:', 'Q:']}\nproposer: {stop: *s}\ntau: 0.5\n")
    words = [f"hydra.searchpath=[file://{file.parents[1]}]", "experiment=own", "proposer=hf"]
    cfg, _ = composed(words)
    assert list(cfg.proposer.stop) == list(cfg.task.stop) == ["Question:", "Q:"]
