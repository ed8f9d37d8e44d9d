"""The points of a study are what they would be if each were composed on its own, and far fewer are composed."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from warmexp.config import allowed
from warmexp.config.instantiate import build
from warmexp.config.keys import conf_dir
from warmexp.config.messages import MISTAKES, explain
from warmexp.config.points import Points
from warmexp.errors import UserError
from warmexp.studies.named import register

WORDS = [
    ["init=token_inject", "rho=0.3"],
    ["init=token_inject", "rho=0.4", "tau=0.7"],
    ["init=token_inject"],
    ["tau=0.7", "init=token_inject", "tau=0.8"],
    ["rho=7", "init=token_inject"],
    ["rho=null", "init=token_inject"],
    ["init=token_inject", "rho=[1,2]"],
    ["init=token_inject", "rho={a: 1}"],
    ["init=token_inject", "init.rho=0.2", "init.nonsense=3"],
    ["init=token_inject", "nonsense=3"],
    ["remask=linear", "remask.bias=0.1", "remask.scope=all"],
    ["remask=linear", "remask.bias=x"],
    ["remask=linear", "remask.scope=decoded"],
    ["task.stop=['a, b',c]", r"backbone.template='{prompt}, please: '"],
    ["task.limit=3", "device=[cpu,cpu]", "outputs=/tmp/x y"],
    ["evidence=[credit]", "evidence.credit.alpha=0.5"],
    ["experiment=trusted", "tau=0.6"],
    ["+init.added=1", "tau=0.5"],
    ["~tracker", "tau=0.5"],
    ["++tau=0.5"],
    ["tau=${rho}", "rho=0.25"],
    ["task.prompt='{question} ${study.name}'"],
    ["seed=3", "study.baseline='init=mask'"],
    ["hydra/launcher=local", "hydra.launcher.n_jobs=3", "tau=0.5"],
    ["init=nonsense"],
    ["+sweep=trust", "init=token_inject", "tau=0.5"],
    ["+sweep=trust", "init=token_inject", "tau=0.6", "task.limit=3", "hydra.sweeper.dry_run=true"],
    ["tau=0.6", "+sweep=smoke"],
    ["+sweep=nonsense", "tau=0.6"],
    ["remask=linear", "remask.bias=0.2", "nonsense=3", "remask.nonsense=1"],
    ["remask=linear", "remask.bias=0.2", "remask.scope=nonsense"],
    ["remask=linear", "remask.bias=0.2", "tau=0.5", "remask.bias=0.3"],
    ["remask=linear", "tau=0.5", "remask.bias=0.2"],
]


@pytest.fixture
def load():
    register()
    allowed.install()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield lambda words: compose("config", words, return_hydra_config=True)


def alone(load, words: list[str]):
    """What is composed of a command line by itself, or the sentence with which it is refused."""
    try:
        cfg = load(words)
        choices = dict(OmegaConf.to_container(cfg.hydra.runtime.choices))
        OmegaConf.set_struct(cfg, False)
        del cfg["hydra"]
        return OmegaConf.to_container(cfg), _resolved(cfg), choices
    except (UserError, *MISTAKES) as error:
        return explain(error)


def among(points: Points, words: list[str]):
    try:
        with points.composed(words) as (cfg, choices):
            return OmegaConf.to_container(cfg), _resolved(cfg), choices
    except (UserError, *MISTAKES) as error:
        return explain(error)


def _resolved(cfg):
    try:
        return OmegaConf.to_container(cfg, resolve=True)
    except MISTAKES as error:
        return explain(error)


@pytest.mark.parametrize("backwards", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_point_among_others_is_what_it_is_alone(backwards, load):
    points = Points(load)
    for words in [*reversed(WORDS)] if backwards else [*WORDS, *WORDS]:
        assert among(points, words) == alone(load, words), words


def test_options_are_composed_once_for_all_points(load):
    asked = []
    points = Points(lambda words: asked.append(words) or load(words))
    for init in ("token_inject", "mask"):
        for tau in (0.5, 0.6, 0.7):
            with points.composed(["+sweep=trust", f"init={init}", f"tau={tau}", "task.limit=2"]) as (cfg, _):
                assert (cfg.tau, cfg.task.limit) == (tau, 2)
    assert asked == [["+sweep=trust", "init=token_inject"], ["+sweep=trust", "init=mask"]]


def test_what_a_class_takes_is_looked_at_once_and_belongs_to_nobody(monkeypatch):
    node = {"_target_": "warmexp.tasks.lab.LabTask", "stop": ["a"], "limit": 1}
    first = build("task", node)
    merges = []
    monkeypatch.setattr(OmegaConf, "merge", lambda *_: merges.append(1))
    first.stop.append("b")
    assert build("task", node).stop == ["a"] and not merges
    monkeypatch.undo()
    with pytest.raises(UserError, match="takes a whole number"):
        build("task", {**node, "limit": 1.5})
    assert type(build("task", {**node, "limit": "1"}).limit) is int
