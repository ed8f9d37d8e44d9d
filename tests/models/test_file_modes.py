"""Who may read a new file of a folder may read the models that are written there."""

from __future__ import annotations

import os

import pytest
import torch
from safetensors.torch import save_file

from warmexp.lab.training import replace_folder
from warmexp.methods.unmask.policy import Policy, Shape
from warmexp.models import random_checkpoint


@pytest.fixture(params=[0o002, 0o027])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder) -> set[int]:
    return {file.stat().st_mode & 0o777 for file in folder.rglob("*") if file.is_file()}


def policy(out):
    Policy(Shape(width=8, heads=2, layers=1, reach=3)).save(out / "policy.safetensors")


def checkpoint(out):
    sizes = ["--d_model", "16", "--layers", "1", "--mlp", "32", "--rows", "264", "--heads", "2", "--kv_heads", "2"]
    random_checkpoint.main(["--layout", "llada", "--out", str(out), *sizes])


def trained(out):
    def write(where):
        save_file({"a": torch.zeros(2)}, where / "model.safetensors")
        (where / "config.json").write_text("{}")

    replace_folder(out, write)


@pytest.mark.parametrize("write", [policy, checkpoint, trained])
def test_what_is_written_is_as_readable_as_any_other_file(write, umask, tmp_path):
    out = tmp_path / "model"
    write(out)
    assert modes(out) == {0o666 & ~umask}
    assert any(out.glob("*.safetensors"))
