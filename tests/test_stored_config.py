"""Configurations from somebody else: read as data, in a moment, and never resolved."""

from __future__ import annotations

import os
import shutil

import pytest
import yaml
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader

from warmexp.analysis.points import collect, load_point
from warmexp.front.__main__ import main
from warmexp.stored_config import read_config, read_yaml
from warmexp.tracking import backfill

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    from warmexp.api import run_overrides

    _, folder = run_overrides(["task.limit=2", f"outputs={tmp_path_factory.mktemp('outputs')}"])
    return folder


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "runs" / finished.name)


def test_what_a_run_has_written_is_read_as_omegaconf_reads_it(run):
    file = run / "config.yaml"
    more = {
        "small": 1e-05,
        "large": 1e20,
        "text": "1e5",
        "date": "2024-01-02",
        "yes": "yes",
        "empty": [],
        "none": None,
        "half": 0.5,
    }
    config = OmegaConf.merge(
        OmegaConf.load(file), {"more": {**more, "on": True, "version": "1_000", "time": "12:30:00"}}
    )
    OmegaConf.save(config, file)
    assert read_config(run) == OmegaConf.to_container(OmegaConf.load(file))


def test_the_environment_of_the_reader_stays_out_of_what_is_written(run, monkeypatch, capfd):
    monkeypatch.setenv("MY_PLAIN_SETTING", "of-this-machine-only")
    file = run / "config.yaml"
    config = OmegaConf.load(file)
    config.choices.task = "${oc.env:MY_PLAIN_SETTING}"
    config.study.name = "${oc.env:MY_PLAIN_SETTING}"
    file.write_text(OmegaConf.to_yaml(config))
    main([str(run.parent)])
    assert backfill.main([str(run.parent), "--dry-run"]) == 0
    left = b"".join(f.read_bytes() for f in run.parent.rglob("*") if f.is_file())
    assert b"of-this-machine-only" not in left and "of-this-machine-only" not in "".join(capfd.readouterr())
    assert b"${oc.env:MY_PLAIN_SETTING}" in left
    assert "${oc.env:MY_PLAIN_SETTING}" in dict(load_point(run).settings).values()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB, "aliases"),
        ("a: &a [*a]\n", "aliases"),
        ("a: " + "[" * 500 + "]" * 500, "nested"),
        ("a: " + "{b: " * 100_000, ""),
        ("a: " + "x" * 2**21, "larger"),
        ("!!python/object/apply:os.system [exit]", "tag"),
        ("a: !!python/name:os.system", "tag"),
        ("- a\n- b\n", "not a mapping"),
        ("", "not a mapping"),
        ("a: [1", ""),
        ("a: \x00", ""),
        ("? [a]\n: b", ""),
        ("a: 2024-13-45\n", "lacks"),
    ],
    ids=range(13),
)
def test_a_hostile_configuration_is_left_out(run, text, why):
    (run / "config.yaml").write_text(text)
    points, left_out = collect(run.parent)
    assert (
        not points and len(left_out) == 1 and why in left_out[0] and str(run) in left_out[0] and len(left_out[0]) < 700
    )


@pytest.mark.parametrize("kind", ["fifo", "zero", "folder", "loop", "latin"])
def test_what_is_no_file_is_left_out(run, kind):
    file = run / "config.yaml"
    file.unlink()
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "latin":
        file.write_bytes("a: é".encode("latin-1"))
    else:
        file.symlink_to("/dev/zero" if kind == "zero" else "config.yaml")
    points, left_out = collect(run.parent)
    assert not points and len(left_out) == 1 and str(run) in left_out[0]


@pytest.mark.parametrize(
    "word",
    ["1", "-1_0", "0x1f", "010", "0o7", "1:30", "1e-05", "1e5", ".5", ".inf", "-.inf", "~", "null", "Null", "yes", "on", "TRUE",
     "2024-01-02", "'1'", '"a\\nb"', "|\n  1\n", "x: y", "[1, {b: [c, ~]}]", "{}", "[]", "!!str 1", "! 1", "''", "a b"],
)  # fmt: skip
def test_a_word_is_read_as_omegaconf_reads_it(tmp_path, word):
    text = f"a:\n  {word}\n" if ": " in word and not word.startswith("[") else f"a: {word}\n"
    text += "'': last\n3: number\nx: 1\nx: 2\n"
    (tmp_path / "config.yaml").write_text(text)
    found = read_yaml(tmp_path / "config.yaml")
    expected = yaml.load(
        text,
        Loader=type(
            "Late", (get_yaml_loader(), yaml.SafeLoader), {"construct_mapping": yaml.SafeLoader.construct_mapping}
        ),
    )
    assert repr(found) == repr(expected)


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/name:os.system",
        "a: !x 1",
        "a: !x [1]",
        "a: !!set {b}",
        "a: 1\n---\nb: 2\n",
        "a: =\n",
        "<<: {a: 1}\n",
    ],
)
def test_what_no_run_writes_is_refused(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"which no run writes|several documents"):
        read_yaml(tmp_path / "config.yaml")
