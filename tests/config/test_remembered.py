"""What the loader remembers changes nothing of what is composed."""

from __future__ import annotations

import os

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra._internal import config_loader_impl, defaults_list, hydra
from hydra._internal.defaults_list import create_defaults_list
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from warmexp.config import allowed, remembered
from warmexp.config.keys import conf_dir, options, sweeps_dir
from warmexp.studies.named import register

WORDS = [
    [],
    ["tau=0.7"],
    ["init=token_inject", "rho=0.3", "task.limit=4"],
    ["init=token_inject", "rho=0.4", "task.limit=5", "seed=3"],
    ["init=token_inject", "rho=0.3", "task.limit=4"],
    ["experiment=trusted"],
    ["experiment=trusted", "tau=0.6", "+sweep=smoke"],
    ["+sweep=smoke"],
    ["experiment=paper/token_inject", "~tracker"],
    ["evidence=[credit,bonus]", "evidence.credit.alpha=0.5"],
    ["evidence=[credit]"],
    ["hydra/launcher=local", "hydra.launcher.processes=3"],
    *([f"{group}={option}"] for group in ("cache",) for option in options(group)),
]


def by(loader: type, words: list[str], name: str = "config", folder: str | None = None):
    """What a loader composes, or how it refuses."""
    before = hydra.ConfigLoaderImpl
    hydra.ConfigLoaderImpl = loader
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(folder or str(conf_dir()), version_base="1.3"):
            made = compose(name, words, return_hydra_config=True)
        return OmegaConf.to_container(made, resolve=False)
    except Exception as error:
        return type(error), str(error)
    finally:
        hydra.ConfigLoaderImpl = before


def own(words: list[str], **named):
    """Without any memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config_loader_impl, "create_defaults_list", create_defaults_list)
        patch.setattr(defaults_list, "_create_interpolation_map", remembered._create_interpolation_map)
        return by(config_loader_impl.ConfigLoaderImpl, words, **named)


@pytest.fixture(autouse=True)
def begins_anew(monkeypatch):
    register()
    allowed.install()
    monkeypatch.setattr(remembered, "_REPOSITORIES", {})


@pytest.mark.slow
def test_it_composes_what_hydra_composes():
    expected = [own(words) for words in WORDS]
    assert sum(isinstance(one, dict) for one in expected) > len(WORDS) * 0.9
    for _ in range(2):
        for words, config in zip(WORDS, expected, strict=True):
            assert by(allowed.CheckedLoader, words) == config, words


def test_only_a_choice_of_options_is_composed(monkeypatch):
    """Fails where nothing is remembered."""
    calls = []
    real = config_loader_impl.ConfigLoaderImpl._compose_config_from_defaults_list
    monkeypatch.setattr(
        config_loader_impl.ConfigLoaderImpl,
        "_compose_config_from_defaults_list",
        lambda *given: calls.append(1) or real(*given),
    )
    for tau in (0.5, 0.6, 0.7):
        assert by(allowed.CheckedLoader, [f"tau={tau}", "init=context"])["tau"] == tau
    assert len(calls) == 1


def folder(tmp_path):
    """A small tree of configurations."""
    (tmp_path / "conf" / "kind").mkdir(parents=True)
    (tmp_path / "conf" / "main.yaml").write_text("defaults: [{kind: a}, _self_]\nhydra: {searchpath: []}\nvalue: 1\n")
    (tmp_path / "conf" / "kind" / "a.yaml").write_text("name: a\n")
    return tmp_path / "conf"


def touch(file, text):
    """Another content, at another time even where clocks are coarse."""
    file.write_text(text)
    stat = file.stat()
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10_000_000))


def test_a_change_is_seen(tmp_path):
    conf = folder(tmp_path)

    def now(*words):
        named = {"name": "main", "folder": str(conf)}
        made, expected = by(remembered.RememberingLoader, list(words), **named), own(list(words), **named)
        assert made == expected
        return made

    assert now()["kind"] == {"name": "a"}
    touch(conf / "kind" / "a.yaml", "name: other\n")
    assert now()["kind"] == {"name": "other"}
    assert isinstance(now("kind=b"), tuple)  # there is none yet
    (conf / "kind" / "b.yaml").write_text("name: b\n")
    assert now("kind=b")["kind"] == {"name": "b"}
    (conf / "kind" / "b.yaml").unlink()
    assert isinstance(now("kind=b"), tuple)
    touch(conf / "main.yaml", "defaults: [_self_, {kind: a}, {more: c}]\nvalue: 2\n")
    assert isinstance(now(), tuple)
    (conf / "more").mkdir()
    (conf / "more" / "c.yaml").write_text("name: c\n")
    assert now()["more"] == {"name": "c"}


def test_an_option_that_another_one_decides(tmp_path):
    """A list of defaults may refer to choices; what those are is only then put together."""
    conf = folder(tmp_path)
    (conf / "main.yaml").write_text("defaults: [{kind: a}, {more: '${kind}_c'}, _self_]\nvalue: 1\n")
    (conf / "kind" / "b.yaml").write_text("# @package _global_\nname: b\nlist: [1]\n")
    (conf / "more").mkdir()
    for name in ("a_c", "b_c"):
        (conf / "more" / f"{name}.yaml").write_text(f"name: {name}\n")
    for words in ([], ["kind=b"], ["kind=b", "value=2", "list=[2]"], ["kind=b"], []):
        named = {"name": "main", "folder": str(conf)}
        made = by(remembered.RememberingLoader, words, **named)
        assert made == own(words, **named)
        assert made["more"] == {"name": "b_c" if words else "a_c"}


def test_an_option_that_comes_to_stand_before_another(tmp_path):
    conf = folder(tmp_path)
    there = tmp_path / "there"
    (there / "kind").mkdir(parents=True)
    (there / "kind" / "z.yaml").write_text("name: there\n")
    words = ["kind=z", f"hydra.searchpath=[file://{there}]"]
    named = {"name": "main", "folder": str(conf)}
    assert by(remembered.RememberingLoader, words, **named)["kind"] == {"name": "there"}
    (conf / "kind" / "z.yaml").write_text("name: here\n")
    assert by(remembered.RememberingLoader, words, **named) == own(words, **named)
    assert by(remembered.RememberingLoader, words, **named)["kind"] == {"name": "here"}


def test_a_relative_place_is_looked_up_where_one_stands(tmp_path, monkeypatch):
    conf = folder(tmp_path)
    words = ["kind=z", "hydra.searchpath=[file://extra]"]
    for name in ("one", "two"):
        (tmp_path / name / "extra" / "kind").mkdir(parents=True)
        (tmp_path / name / "extra" / "kind" / "z.yaml").write_text(f"name: {name}\n")
        monkeypatch.chdir(tmp_path / name)
        assert by(remembered.RememberingLoader, words, name="main", folder=str(conf))["kind"] == {"name": name}


def test_options_are_listed_as_they_are_and_not_twice(tmp_path, monkeypatch):
    conf = folder(tmp_path)
    by(remembered.RememberingLoader, [], name="main", folder=str(conf))
    kept = next(iter(remembered._REPOSITORIES.values()))
    files = next(type(source) for source in kept.get_sources() if source.scheme() == "file")
    listed, real = [], files.list
    monkeypatch.setattr(
        files, "list", lambda self, config_path, **k: listed.append(config_path) or real(self, config_path, **k)
    )
    assert kept.get_group_options("kind") == kept.get_group_options("kind") == ["a"] and listed.count("kind") == 1
    touch(conf / "kind" / "b.yaml", "name: b\n")
    assert kept.get_group_options("kind") == ["a", "b"]
    (conf / "kind" / "a.yaml").unlink()
    assert kept.get_group_options("kind") == ["b"]


def test_what_is_given_out_is_nobody_elses():
    """Editing one composition changes no later one."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        first = compose("config", ["init=mask"])
        OmegaConf.set_struct(first, False)
        first.length.canvas_length = 3
        first.unmask.foreign = 1
        second = compose("config", ["init=mask"])
        third = compose("config", ["init=mask", "tau=0.5"])
    for one in (second, third):
        assert one.length.canvas_length != 3 and "foreign" not in one.unmask


def test_files_are_read_as_omegaconf_reads_them(tmp_path):
    loader = remembered.yaml_loader()
    assert loader is remembered.yaml_loader() and issubclass(loader, yaml.SafeLoader)
    files = [*conf_dir().rglob("*.yaml"), *sweeps_dir().glob("*.yaml")]
    odd = "a: 1e-05\nb: 2024-01-02\nc: 1_0\nd: [on, ~, 1:30]\ne: &x {f: !!str 1}\ng: *x\n"
    for text in [odd, *(file.read_text(encoding="utf-8") for file in files)]:
        assert repr(yaml.load(text, Loader=loader)) == repr(yaml.load(text, Loader=remembered._get_yaml_loader()))
    for text, why in (
        ("a: 1\na: 2\n", "duplicate key a"),
        ("a: [1\nb: 2", "line 2"),
        ("a: !!python/name:os.system", "tag"),
    ):
        with pytest.raises(yaml.YAMLError, match=why):
            yaml.load(text, Loader=loader)
