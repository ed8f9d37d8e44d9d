"""Every option of every group composes and builds; the command line works as in any Hydra program."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.test_sinks import run_main
from warmexp.api import composed, planned
from warmexp.config.instantiate import build
from warmexp.config.keys import GROUPS, conf_dir, options, readers
from warmexp.decode.strategy import LISTS
from warmexp.errors import UserError

NEEDS = {
    ("backbone", "checkpoint"): ["backbone.path=x"],
    ("proposer", "hf"): ["proposer.path=x"],
    ("proposer", "file"): ["proposer.path=x"],
    ("proposer", "openai"): ["proposer.base_url=http://localhost:1/v1", "proposer.model=x"],
    ("task", "jsonl"): ["task.path=x"],
    ("tracker", "several"): ["tracker.of=[none]"],
}
EXTRAS = {"mlflow": "mlflow", "tensorboard": "tensorboard", "trackio": "trackio"}  # tracker and its package


@pytest.mark.parametrize(("group", "option"), [(g, o) for g in GROUPS for o in options(g)])
def test_every_option_builds(group, option):
    cfg, choices = composed([f"{group}={option}", *NEEDS.get((group, option), [])])
    assert choices[group] == option
    node = cfg[group][option] if group in LISTS else cfg[group]
    if group == "tracker" and (package := EXTRAS.get(option)) and find_spec(package) is None:
        with pytest.raises(UserError, match=rf"pip install 'warmexp\[{option}\]'"):
            build(group, node)
        pytest.skip(f"tracker={option} needs {package}, which an extra installs")
    built = build(group, node)
    keys = {k for k in node if k != "_target_"}
    assert keys == {f.name for f in dataclasses.fields(built)}, (
        "the YAML lists every key, so that GROUP.KEY=VALUE sets it"
    )


LAB = ["backbone=lab", "proposer=lab_weak", "task=lab"]  # the published models and data are not here
EXPERIMENTS = sorted(
    str(f.relative_to(conf_dir() / "experiment").with_suffix("")) for f in (conf_dir() / "experiment").rglob("*.yaml")
)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_a_run(name):
    assert planned(
        [f"experiment={name}", *([] if "oracle" in name else LAB[1:2]), LAB[0], LAB[2], "task.limit=2"]
    ).run_id


def test_the_readers_of_a_key_come_from_the_files():
    assert {"unmask=agreement", "unmask=threshold"} <= set(readers("tau").split(", ")) and "topk" not in readers("tau")
    assert readers("lambda") == "init=embed_interp" == readers("p")


def test_top_level_keys_reach_their_groups():
    made = planned(["init=embed_interp", "lambda=0.3", "p=0.2", "tau=0.8", "task.limit=2"])
    assert (made.strategies.init.lam, made.strategies.init.p, made.strategies.unmask.tau) == (0.3, 0.2, 0.8)
    default = planned(["init=embed_interp", "task.limit=2"])
    assert (default.strategies.init.lam, default.strategies.init.p, default.strategies.unmask.tau) == (0.4, 0.5, 0.9)
    assert planned(["init=embed_interp", "init.lam=0.3", "p=0.2", "tau=0.8", "task.limit=2"]).run_id == made.run_id


def test_prompts_are_encoded_once_for_a_study_and_anew_for_another_template():
    one, same, other = (
        planned(["task.limit=2", *more]) for more in ([], ["tau=0.8"], ["backbone.template='Hello. {prompt}'"])
    )
    assert same.prompts is one.prompts and other.prompts.keys() == one.prompts.keys()
    assert all(len(other.prompts[i]) > len(one.prompts[i]) for i in one.prompts)
    assert planned(["task.limit=3"]).prompts.keys() > one.prompts.keys()


@pytest.fixture
def shown(monkeypatch, capsys):
    """What the command line says, in this process."""

    def say(*words: str) -> str:
        assert run_main(monkeypatch, *words) == 0
        return capsys.readouterr().out

    return say


def test_help_shows_groups_keys_and_examples(shown):
    text = shown("--help")
    for part in (
        "init: context, embed_interp, hints, length_hint, mask, scaffold, token_inject",
        "lambda  λ in [0, 1]",
        "(Eq. 5)",
        "python -m warmexp -m init=token_inject",
    ):
        assert part in text


def test_the_composed_configuration_can_be_shown(shown):
    text = shown("--cfg", "job", "--resolve", "init=embed_interp", "λ=0.3")
    assert "lam: 0.3" in text and "_target_: warmexp.methods.init.embed_interp.EmbedInterp" in text


def test_where_configurations_are_looked_for_can_be_shown():
    """By Hydra's own log, in a process of its own."""
    words = [sys.executable, "-m", "warmexp", "--info", "searchpath"]
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    assert done.returncode == 0 and "| main " in done.stdout, done.stderr


def test_tab_completion_knows_the_options(shown, monkeypatch):
    """What the shell calls when the user presses tab after `init=`."""
    monkeypatch.setenv("COMP_LINE", "warmexp init=")
    monkeypatch.setenv("COMP_POINT", "13")
    assert {"init=mask", "init=token_inject", "init=embed_interp"} <= set(shown("-sc", "query=bash").split())
