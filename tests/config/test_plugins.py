"""Methods from outside: nothing is trusted that a user did not name, and what is trusted is a full citizen."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from warmexp.api import planned, run_overrides
from warmexp.config.plan import options
from warmexp.config.plugins import VARIABLE, roots, take_words
from warmexp.errors import UserError

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "mymethods"
WORDS = ["unmask=margin", "task.limit=2", "device=cpu"]


@pytest.fixture
def outside(tmp_path, monkeypatch) -> Path:
    """A copy of the example under a name that nothing else has, and a clean environment."""
    folder = tmp_path / "rules_of_mine"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    yaml = folder / "conf" / "unmask" / "margin.yaml"
    yaml.write_text(yaml.read_text().replace("mymethods", folder.name))
    monkeypatch.setenv(VARIABLE, "")
    return folder


def test_a_named_folder_gives_an_option(outside, tmp_path):
    summary, folder = run_overrides([f"plugins=[{outside}]", *WORDS, f"outputs={tmp_path / 'out'}"])
    assert summary["n"] == 2 and "margin" in (folder / "config.yaml").read_text()
    assert "margin" in options("unmask") and roots()[0].name == outside.name


def test_the_environment_names_it_too(outside, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(outside))
    assert planned(WORDS).run_id


def test_its_source_is_part_of_the_run(outside):
    first = planned([f"plugins=[{outside}]", *WORDS])
    assert first.identity["unmask"]["source"]
    (outside / "helper.py").write_text("CHANGED = True\n")
    assert planned([f"plugins=[{outside}]", *WORDS]).run_id != first.run_id
    assert "source" not in planned(["task.limit=2"]).identity["unmask"]


def test_nothing_is_trusted_unless_it_is_named(outside):
    with pytest.raises(UserError, match=r"unmask=margin is not an option|Could not find 'unmask/margin'"):
        try:
            planned(WORDS)
        except Exception as error:
            raise UserError(str(error)) from None
    with pytest.raises(UserError, match=r"refused.*plugins=\[rules_of_mine\]"):
        planned(["unmask._target_=rules_of_mine.margin.Margin", "task.limit=2"])


def test_a_configuration_cannot_trust_anybody(outside):
    with pytest.raises(UserError, match="plugins is not a key"):
        planned([f"+plugins=[{outside}]", "task.limit=2"])


@pytest.mark.parametrize("named", ["nothing_of_this_name", "no/such/folder", "abc"])
def test_what_cannot_be_a_package_is_one_sentence(named, outside):
    with pytest.raises(UserError, match="plugins="):
        take_words([f"plugins=[{named}]"])


def test_a_class_of_another_group_is_refused(outside):
    with pytest.raises(UserError, match=r"remask\._target_=.* derives from .*Remask"):
        planned([f"plugins=[{outside}]", "remask._target_=rules_of_mine.margin.Margin", "task.limit=2"])
