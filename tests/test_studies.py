"""Named studies run by name and can be overridden on the command line."""

from __future__ import annotations

import json
import sys

import pytest

from warmexp import __main__ as cli
from warmexp.api import composed
from warmexp.studies import register


def front(words: list[str], folder, capsys, monkeypatch) -> tuple[list[dict], str]:
    """Run a command line in this process: the summaries it left and what it printed."""
    monkeypatch.setattr(sys, "argv", ["warmexp", *words, f"outputs={folder}"])
    for name in ("_folders", "_failures"):
        monkeypatch.setattr(cli, name, [])
    monkeypatch.setattr(cli, "_said", set())
    cli.main()
    return [json.loads(p.read_text()) for p in sorted(folder.glob("*/summary.json"))], capsys.readouterr().out


@pytest.mark.parametrize("name", register())
def test_every_study_composes(name):
    cfg, _ = composed([f"+sweep={name}"])
    assert cfg.seed == 0


def test_a_study_runs_by_name(quiet_home, capsys, monkeypatch):
    summaries, said = front(["-m", "+sweep=smoke", "task.limit=4", "tau=0.7,0.9"], quiet_home / "out", capsys, monkeypatch)
    assert len(summaries) == 4 and all(s["n"] == 4 for s in summaries)
    assert len({s["questions_sha256"] for s in summaries}) == 1
    assert said.count("token_inject ρ=0.5") == 2 and "Bold: not dominated" in said


def test_a_sweep_over_a_key_that_a_job_does_not_read_warns_once_and_folds(quiet_home, capsys, monkeypatch):
    words = ["-m", "init=mask,token_inject", "rho=0.2,0.4", "proposer=lab_weak", "task.limit=3"]
    summaries, said = front(words, quiet_home / "out", capsys, monkeypatch)
    assert len(summaries) == 3  # one cold start, two rates
    assert said.count("rho=0.2 is read by") == 1 and said.count("reused") == 1
