"""What a launcher says of itself is said once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from warmexp.errors import UserError
from warmexp.studies.folder import Job
from warmexp.studies.sweep import _launch


def asked(tmp_path, error: Exception):
    """A study of two jobs whose launcher raises."""

    def launch(*_, **__):
        raise error

    sweeper = SimpleNamespace(launcher=SimpleNamespace(launch=launch))
    study = SimpleNamespace(states=lambda: [])
    todo = [(Job(i, ("tau=0.7",), "a"), SimpleNamespace(folder=tmp_path / str(i))) for i in range(2)]
    return sweeper, study, todo


def test_the_same_refusal_is_said_once(tmp_path, capsys):
    assert _launch(*asked(tmp_path, RuntimeError("a node is down"))) == []
    assert capsys.readouterr().err.count("a node is down") == 1


def test_a_missing_slurm_is_one_sentence_before_any_job(tmp_path, monkeypatch, capsys):
    pytest.importorskip("submitit")
    from hydra_plugins.warmexp_launchers import Slurm

    monkeypatch.setenv("PATH", str(tmp_path))
    launcher = object.__new__(Slurm)
    with pytest.raises(UserError, match="there is no Slurm on this machine"):
        launcher.launch([["tau=0.7"]], 0)
    with pytest.raises(UserError, match="no Slurm"):
        _launch(*asked(tmp_path, UserError("no Slurm")))
    assert capsys.readouterr().err == ""
