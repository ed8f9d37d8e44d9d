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
    assert said.count("token_inject ρ=0.5") == 4 and "Bold: not dominated" in said


def test_a_sweep_over_a_key_that_a_job_does_not_read_warns_once_and_folds(quiet_home, capsys, monkeypatch):
    words = ["-m", "init=mask,token_inject", "rho=0.2,0.4", "proposer=lab_weak", "task.limit=3"]
    summaries, said = front(words, quiet_home / "out", capsys, monkeypatch)
    assert len(summaries) == 3  # one cold start, two rates
    assert said.count("rho=0.2 is read by") == 1 and said.count("reused") == 1


def test_the_papers_table_runs_unchanged_on_the_lab(quiet_home, capsys, monkeypatch):
    """Every row, on the same questions, from the weak proposer; the oracle is kept apart."""
    words = ["-m", "+sweep=table1", "backbone=lab", "proposer=lab_weak", "task=lab", "task.limit=6"]
    front(words, quiet_home / "out", capsys, monkeypatch)
    words = ["experiment=paper/oracle", "backbone=lab", "task=lab", "task.limit=6", "task.subset_seed=0"]
    summaries, _ = front(words, quiet_home / "out", capsys, monkeypatch)
    assert len(summaries) == 10 and len({s["questions_sha256"] for s in summaries}) == 1
    by_id = {s["run_id"]: s for s in summaries}
    (oracle,) = [s for s in summaries if s["oracle"]]
    assert oracle["proposal_accuracy_strict"] == 1.0 and oracle["accuracy_strict_given_proposal_wrong"] is None
    (autoregressive,) = [s for s in summaries if s["nfe_mean"] == 0]
    assert autoregressive["accuracy_strict"] == autoregressive["proposal_accuracy_strict"]
    assert sum("length_hint" in i for i in by_id) == 1


def test_the_papers_experiments_on_real_models_say_what_is_missing(quiet_home, capsys, monkeypatch):
    """No weights and no network: one sentence that names the checkpoint, within seconds."""
    from warmexp.hub import offline_if_unreachable

    offline_if_unreachable.cache_clear()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(sys, "argv", ["warmexp", "experiment=paper/token_inject"])
    for name in ("_folders", "_failures"):
        monkeypatch.setattr(cli, name, [])
    with pytest.raises(SystemExit):
        cli.main()
    offline_if_unreachable.cache_clear()
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and ("LLaDA-8B-Instruct" in said or "Llama-2-7b-hf" in said) and "hf download" in said
