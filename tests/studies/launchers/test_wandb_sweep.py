"""Studies as W&B sweep files: what `wandb sweep` accepts, and what `wandb agent` then runs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from warmexp.config.keys import sweeps_dir
from warmexp.tracking import wandb_sweep
from warmexp.tracking.wandb_sweep import sweep_file

# Not every point reads rho.
LISTED = ("smoke", ["init=mask,token_inject", "rho=0.2,0.3", "tau=0.7", "task.limit=2"])


def test_one_grid_becomes_parameters_of_the_same_names():
    made = sweep_file("smoke", ["task.limit=4"])
    assert made["method"] == "grid"
    assert made["parameters"] == {"init": {"values": ["mask", "token_inject"]}, "tau": {"values": [0.7, 0.9]}}
    assert "task.limit=4" in made["command"] and made["command"][-1] == "${args_no_hyphens}"


def test_keys_that_only_some_points_read_become_command_lines_without_the_idle_ones():
    assert sweep_file(*LISTED)["parameters"] == {
        "point": {
            "values": [
                "task.limit=2 init=mask tau=0.7",
                "task.limit=2 init=token_inject tau=0.7 rho=0.2",
                "task.limit=2 init=token_inject tau=0.7 rho=0.3",
            ]
        }
    }


def test_a_search_becomes_ranges():
    made = sweep_file("search", ["init=token_inject", "remask=linear", "lambda=null", "p=null"])
    assert made["method"] == "random"
    assert made["parameters"]["rho"] == {"min": 0.05, "max": 0.6}
    assert set(made["parameters"]) == {"proposer", "remask.scope", "remask.bias", "tau", "rho"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nosuch"], "nosuch is not a study"),
        (["search"], "cannot be varied under init=mask"),
        (["smoke", "tau=0.9", "init=mask"], "varies nothing"),
    ],
)
def test_what_cannot_be_converted_is_said_in_a_sentence(words, sentence, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["wandb_sweep", *words])
    with pytest.raises(SystemExit) as end:
        wandb_sweep.main()
    text = capsys.readouterr().err
    assert end.value.code == 2 and text.count("\n") == 1 and sentence in text


@pytest.mark.parametrize("study", ["smoke", "threshold", "demo"])
def test_wandbs_own_schema_accepts_the_file(study):
    schema = pytest.importorskip(
        "sweeps.config.schema", reason="the package `sweeps` (W&B's own, wandb[sweeps]) is not installed"
    )
    assert not list(schema.validator.iter_errors(yaml.safe_load(yaml.safe_dump(sweep_file(study)))))
    assert list(schema.validator.iter_errors({"method": "grid", "parameters": {"tau": {"vals": [1]}}})), (
        "the schema refuses what is wrong"
    )


@pytest.mark.slow
def test_what_an_agent_runs_is_a_run(quiet_home, monkeypatch):
    """The agent's own code makes the command from the file and starts it; only the server is not there."""
    from wandb.wandb_agent import Agent

    made = sweep_file(LISTED[0], [*LISTED[1], f"outputs={quiet_home / 'out'}"])
    point = made["parameters"]["point"]["values"][-1]
    environment = {
        "WANDB_MODE": "offline",
        "WANDB_SWEEP_ID": "abc12345",
        "WANDB_DIR": str(quiet_home),
        "WANDB_RUN_ID": "",
    }
    environment |= {"WANDB_SWEEP_PARAM_PATH": "", "PYTHONPATH": str(sweeps_dir().parent)}
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    agent = Agent.__new__(Agent)
    agent._sweep_command, agent._in_jupyter, agent._function = made["command"], False, None
    agent._run_processes, agent._forward_signals = {}, False
    agent._command_run({"run_id": "r1", "program": made["program"], "args": {"point": {"value": point}}})
    assert agent._run_processes["r1"].wait() == 0
    (summary,) = (quiet_home / "out").glob("*/summary.json")
    config = yaml.safe_load((summary.parent / "config.yaml").read_text())
    assert json.loads(summary.read_text())["n"] == 2
    assert (config["study"]["name"], config["init"]["_target_"].split(".")[-2], config["rho"]) == (
        "smoke",
        "token_inject",
        0.3,
    )
    assert list(quiet_home.glob("**/offline-run-*")), "the run is W&B's too"
