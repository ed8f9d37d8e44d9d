"""Python 3.14's argparse reads help texts when they are declared: its check, called here on whatever Python there is."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import hydra._internal.utils as hydra_utils
import pytest

from warmexp.config import parser

ROOT = Path(__file__).resolve().parents[2]
# As it stands in CPython 3.14's argparse, at the end of add_argument.
PATCH = """
import argparse

def _check_help(self, action):
    if action.help and hasattr(self, "_get_formatter"):
        formatter = self._get_formatter()
        try:
            formatter._expand_help(action)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError("badly formed help string") from error

container = argparse._ActionsContainer
if not hasattr(container, "_check_help"):
    container._check_help = _check_help
    plain = container.add_argument

    def add_argument(self, *words, **keys):
        action = plain(self, *words, **keys)
        self._check_help(action)
        return action

    container.add_argument = add_argument
"""


@pytest.fixture
def as_in_3_14(monkeypatch):
    """argparse with the check."""
    for name in ("add_argument", "_check_help"):
        if hasattr(argparse._ActionsContainer, name):
            monkeypatch.setattr(argparse._ActionsContainer, name, getattr(argparse._ActionsContainer, name))
    before = set(vars(argparse._ActionsContainer))
    exec(PATCH, {})
    yield
    for name in set(vars(argparse._ActionsContainer)) - before:
        delattr(argparse._ActionsContainer, name)


def test_hydras_parser_is_built_without_the_check_and_others_with_it(as_in_3_14):
    parser.install()
    parser.install()
    plain = hydra_utils.get_args_parser.__wrapped__
    assert not hasattr(plain, "__wrapped__"), "installed twice"
    with pytest.raises(ValueError, match="badly formed help string"):
        plain()
    asked = hydra_utils.get_args_parser().parse_args(["-m", "tau=0.7", "--cfg", "job"])
    assert asked.multirun and asked.overrides == ["tau=0.7"] and asked.cfg == "job"
    with pytest.raises(ValueError, match="badly formed help string"):
        argparse.ArgumentParser().add_argument("--share", help="100 %")


def test_a_parser_that_cannot_be_built_leaves_the_check(as_in_3_14):
    check = argparse._ActionsContainer._check_help
    with pytest.raises(ZeroDivisionError):
        parser.without_help_check(lambda: 1 / 0)()
    assert argparse._ActionsContainer._check_help is check


COMMANDS = sorted(
    {"warmexp"}
    | {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
        for file in (ROOT / "warmexp").rglob("*.py")
        if re.search(r"\b(Argument)?Parser\(\s*prog=|\bArgumentParser\(", file.read_text(encoding="utf-8"))
    }
)
HELP = """
import runpy, sys
for name in sys.argv[1:]:
    sys.argv = [name, "--help"]
    try:
        runpy.run_module(name, run_name="__main__")
    except SystemExit as end:
        assert not end.code, (name, end.code)
    print("said", name)
"""


@pytest.mark.slow
def test_every_command_says_what_it_does(tmp_path):
    """Hydra's and ours, in a process that has the check from its first line on."""
    assert {"warmexp", "warmexp.front", "warmexp.bench", "warmexp.studies.demo"} <= set(COMMANDS)
    (tmp_path / "sitecustomize.py").write_text(PATCH, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", HELP, *COMMANDS]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert [f"said {name}" for name in COMMANDS] == [line for line in done.stdout.splitlines() if line[:5] == "said "]
    assert done.returncode == 0, done.stderr
