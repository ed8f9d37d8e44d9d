"""A run that goes on from a damaged folder: what is damaged is named with its line and a remedy that works, and nothing
is lost."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from warmexp.api import planned, run_overrides
from warmexp.errors import UserError
from warmexp.runs.run import run
from warmexp.runs.stored import finished, read_records


@pytest.fixture(scope="module")
def done(tmp_path_factory, checkpoint) -> tuple[list[str], Path]:
    outputs = tmp_path_factory.mktemp("done") / "outputs"
    words = [
        "backbone=checkpoint", f"backbone.path={checkpoint}", "length.canvas_length=16", "length.block_length=8", "tau=0.3",
        "init=token_inject", "proposer=oracle", "rho=0.5", "task.limit=4", "device=cpu",
    ]  # fmt: skip
    return words, run_overrides([*words, f"outputs={outputs}"])[1]


@pytest.fixture
def begun(done, tmp_path):
    """The plan of the same run in another folder, with some of its lines."""
    words, folder = done
    plan = planned([*words, f"outputs={tmp_path}/outputs"])
    plan.folder.mkdir(parents=True)
    shutil.copy(folder / "records.jsonl", plan.folder)
    return plan


def lines(folder: Path) -> list[str]:
    return (folder / "records.jsonl").read_text().splitlines()


def changed(line: str, **values: object) -> str:
    return json.dumps({**json.loads(line), **values})


DAMAGE = {
    "no JSON": (lambda line, _: line[:50], "EOF|JSON"),
    "a list": (lambda *_: "[]", "an object"),
    "seconds are not a number": (lambda line, _: changed(line, seconds=float("nan")), "seconds"),
    "negative seconds": (lambda line, _: changed(line, seconds=-0.5), "seconds"),
    "another question": (lambda line, _: changed(line, id="lab-other"), "none of this run's"),
    "another prompt": (lambda line, _: changed(line, prompt_sha256="x"), "none of this run's"),
    "twice": (lambda _, first: first, "same question as line 1"),
    "a part is missing": (lambda line, _: json.dumps({k: v for k, v in json.loads(line).items() if k != "ids"}), "ids"),
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("at", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_damaged_record_is_named_and_the_remedy_keeps_the_others(begun, kind, at):
    damage, why = DAMAGE[kind]
    before = lines(begun.folder)
    (begun.folder / "records.jsonl").write_text(
        "\n".join(damage(x, before[0]) if i == at else x for i, x in enumerate(before)) + "\n"
    )
    with pytest.raises(UserError, match=rf"records.jsonl, line {at + 1} is damaged \(.*({why}).*remove that line"):
        run(begun, say=lambda _: None)
    kept = [line for i, line in enumerate(lines(begun.folder)) if i != at]
    assert [line for i, line in enumerate(before) if i != at] == kept  # nothing was written over it
    (begun.folder / "records.jsonl").write_text("\n".join(kept) + "\n")
    said: list[str] = []
    run(begun, said.append)
    assert any("3 of 4 questions were already decoded" in s for s in said)
    after = lines(begun.folder)
    assert [line for i, line in enumerate(after) if i != at] == kept
    assert json.loads(after[at])["ids"] == json.loads(before[at])["ids"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"status": "finished"}', '{"status": "finished", "n": NaN}'])
def test_a_wrong_summary_is_made_again(begun, done, text):
    (begun.folder / "summary.json").write_text(text)
    assert finished(begun.folder) is None
    summary = run(begun, say=lambda _: None)
    assert summary["n"] == 4 and finished(begun.folder) == summary
    assert lines(begun.folder) == lines(done[1])  # read and written again to the byte


def test_a_pipe_in_place_of_records_is_refused(begun):
    (begun.folder / "records.jsonl").unlink()
    os.mkfifo(begun.folder / "records.jsonl")
    with pytest.raises(UserError, match=r"records\.jsonl cannot be read"):
        run(begun, say=lambda _: None)


def test_what_a_run_writes_is_what_is_read(done):
    assert [json.loads(json.dumps(record)) for record in read_records(done[1])] == [
        json.loads(line) for line in lines(done[1])
    ]
