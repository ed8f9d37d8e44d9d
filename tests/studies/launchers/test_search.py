"""The search: its space is the schema's, its trials are ordinary runs, and asked for again it goes on."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from tests.studies.launchers.records import command, said
from warmexp import __main__ as cli

optuna = pytest.importorskip("optuna", reason="hydra-optuna-sweeper is not installed")

SEARCH = ["-m", "hydra/sweeper=search", "hydra.sweeper.sampler=random", "study.name=s", "task.limit=2"]


def ask(words: list[str], outputs: Path, monkeypatch) -> int:
    """Run a command line in this process; its exit status."""
    monkeypatch.setattr(sys, "argv", ["warmexp", *SEARCH, *words, f"outputs={outputs}"])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def trials(outputs: Path) -> list[optuna.trial.FrozenTrial]:
    engine = {"isolation_level": "AUTOCOMMIT"}
    storage = optuna.storages.RDBStorage(f"sqlite:///{outputs / 'studies' / 's' / 'optuna.db'}", engine_kwargs=engine)
    return optuna.load_study(study_name="s", storage=storage).trials


def summaries(outputs: Path) -> dict[str, tuple[float, float]]:
    found = [json.loads(file.read_text()) for file in outputs.glob("*/summary.json")]
    return {s["run_id"]: (s["nfe_mean"], s["accuracy_flexible"]) for s in found}


def test_trials_are_runs_keys_follow_the_choices_and_the_number_is_a_total(quiet_home, capsys, monkeypatch):
    space = ["init=mask,token_inject", "proposer=lab_weak,none", "tau=interval(0.6,0.95)", "rho=interval(0.1,0.5)"]
    out = quiet_home / "out"
    assert ask([*space, "hydra.sweeper.n_trials=2"], out, monkeypatch) == 0
    before = {file: file.stat().st_mtime_ns for file in out.glob("*/records.jsonl")}
    assert len(before) == 2
    assert ask([*space, "hydra.sweeper.n_trials=5"], out, monkeypatch) == 0
    text = capsys.readouterr().out
    assert "2 of 5 trials done" in text
    assert all(file.stat().st_mtime_ns == when for file, when in before.items()), "a finished trial is not touched"
    done = [trial for trial in trials(out) if trial.state.name == "COMPLETE"]
    assert len(done) == 5 == len({trial.user_attrs["run_id"] for trial in done})
    assert {trial.user_attrs["run_id"]: tuple(trial.values) for trial in done} == summaries(out)
    for trial in done:
        assert ("rho" in trial.params) == (trial.params["init"] == "token_inject"), (
            "a key is varied only where something reads it"
        )
    others = [trial for trial in trials(out) if trial.state.name != "COMPLETE"]
    assert {trial.state.name for trial in others} <= {"PRUNED"}
    assert all((trial.params["init"], trial.params["proposer"]) == ("token_inject", "none") for trial in others), (
        "only the impossible"
    )


def test_a_trial_that_was_killed_is_tried_again_with_its_values(quiet_home, capsys, monkeypatch):
    from warmexp.studies import search

    words, out = ["tau=interval(0.5,0.95)", "hydra.sweeper.n_trials=2"], quiet_home / "out"
    monkeypatch.setattr(search.OptunaSweeperImpl, "setup", _dying_setup(search.OptunaSweeperImpl.setup))
    assert ask(words, out, monkeypatch) == 1 and "power cut" in capsys.readouterr().err
    (killed,) = trials(out)
    monkeypatch.undo()
    monkeypatch.chdir(quiet_home)
    assert ask(words, out, monkeypatch) == 0
    done = [trial for trial in trials(out) if trial.state.name == "COMPLETE"]
    assert len(done) == 2 and killed.params in [trial.params for trial in done]


def _dying_setup(setup):
    def dying(self, **hydra):
        setup(self, **hydra)

        def launch(*_, **__):
            raise RuntimeError("power cut")

        self.launcher.launch = launch

    return dying


@pytest.mark.slow
def test_the_end_of_a_space_that_can_be_tried_is_an_end(quiet_home, capsys, monkeypatch):
    assert ask(["init=mask", "tau=0.7,0.9", "hydra.sweeper.n_trials=9"], quiet_home / "out", monkeypatch) == 0
    assert "ends early" in capsys.readouterr().out and len(summaries(quiet_home / "out")) == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["init=mask,token_inject", "rho=interval(0.1,2)"], r"rho=2.0 is not in \[0, 1\]"),
        (["init=mask,embed_interp", "rho=interval(0.1,0.5)"], "rho is varied and nothing that can be chosen reads it"),
        (["tau=0.9"], "varies nothing"),
        (["tau=0.7,0.9", "hydra.sweeper.sampler=cmaes"], "hydra.sweeper.sampler=cmaes"),
        (["init=mask,nonsense"], "nonsense"),
    ],
)
def test_a_space_that_the_schema_does_not_allow_is_refused_before_the_first_trial(
    words, sentence, quiet_home, capsys, monkeypatch
):
    assert ask(words, quiet_home / "out", monkeypatch) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and re.search(sentence, text), text
    assert not summaries(quiet_home / "out")


def test_another_space_under_the_same_name_is_refused(quiet_home, capsys, monkeypatch):
    out = quiet_home / "out"
    assert ask(["tau=interval(0.5,0.95)", "hydra.sweeper.n_trials=1"], out, monkeypatch) == 0
    assert ask(["tau=interval(0.5,0.95)", "task.limit=3", "hydra.sweeper.n_trials=2"], out, monkeypatch) == 2
    assert "choose another study.name" in capsys.readouterr().err and len(summaries(out)) == 1


def test_a_search_has_one_leader(quiet_home, capsys, monkeypatch):
    folder = quiet_home / "out" / "studies" / "s"
    folder.mkdir(parents=True)
    with FileLock(folder / ".search.lock"):
        assert ask(["tau=interval(0.5,0.95)"], quiet_home / "out", monkeypatch) == 2
    assert "is being searched by another process" in capsys.readouterr().err


@pytest.mark.slow
def test_a_search_killed_in_the_middle_goes_on_to_its_total(tmp_path):
    words = [*SEARCH, "tau=interval(0.5,0.95)", "task.limit=64", "hydra.sweeper.n_trials=4"]
    with command(words, tmp_path) as process:
        for line in process.stdout:
            if line.startswith("[2]"):
                process.kill()
    assert len(summaries(tmp_path)) == 2
    assert "2 of 4 trials done" in said(words, tmp_path) or len(trials(tmp_path)) > 4
    assert len([trial for trial in trials(tmp_path) if trial.state.name == "COMPLETE"]) == 4


@pytest.mark.slow
def test_trials_in_two_processes_at_once(tmp_path):
    pytest.importorskip("joblib", reason="hydra-joblib-launcher is not installed")
    words = [*SEARCH, "tau=interval(0.5,0.95)", "hydra/launcher=local", "hydra.launcher.n_jobs=2"]
    said([*words, "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=4"], tmp_path)
    assert len(summaries(tmp_path)) == 4 == len(trials(tmp_path))
