"""Methods from outside: nothing is trusted that a user did not name, and what is trusted is a full citizen."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from warmexp.api import planned, run_overrides
from warmexp.config.keys import options
from warmexp.config.plugins import VARIABLE, roots, take_words
from warmexp.config.words import check_words
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


@pytest.fixture
def evidence(outside) -> Path:
    """The file of an evidence in the package."""
    (outside / "sure.py").write_text(
        "from dataclasses import dataclass, replace\n\nfrom warmexp.decode.strategy import Evidence\n\n\n"
        "@dataclass\nclass Sure(Evidence):\n    gain: float = 0.5\n\n    def weigh(self, view, word):\n"
        "        return replace(word, confidence=word.confidence + self.gain * (1 - word.confidence))\n"
    )
    file = outside / "conf" / "evidence" / "sure.yaml"
    file.parent.mkdir()
    file.write_text(f"# @package evidence.sure\n_target_: {outside.name}.sure.Sure\ngain: 0.5\n")
    return file


def test_evidence_of_ones_own_beside_the_projects(outside, evidence, tmp_path, monkeypatch):
    warm = [
        f"plugins=[{outside}]",
        "init=token_inject",
        "rho=0",
        "task.limit=2",
        "device=cpu",
        f"outputs={tmp_path / 'out'}",
    ]
    both = ["evidence=[bonus,sure]", "evidence.sure.gain=0.4"]
    summary, folder = run_overrides([*warm, *both])
    assert summary["n"] == 2
    kept = (folder / "config.yaml").read_text()
    assert "class: Bonus" in kept and "class: Sure" in kept and "gain: 0.4" in kept and "source:" in kept
    check_words([*warm, *both])  # a command line may say the same


def test_evidence_without_its_package_line_is_told_so(outside, evidence):
    evidence.write_text(evidence.read_text().replace("# @package evidence.sure\n", ""))
    with pytest.raises(UserError, match=r"begins with the line `# @package evidence\.NAME`"):
        planned([f"plugins=[{outside}]", "evidence=[sure]", "task.limit=2"])


@pytest.mark.parametrize(
    "mistake",
    ["def (", "from dataclasses import dataclass\n\n@dataclass\nclass Margin:\n    kept: list = []\n", "1 / 0"],
)
def test_a_module_that_cannot_be_loaded_is_one_sentence(outside, mistake):
    (outside / "broken.py").write_text(mistake)
    with pytest.raises(UserError, match=r"rules_of_mine\.broken\.Margin cannot be loaded: \w+Error: .*\.$"):
        planned([f"plugins=[{outside}]", f"unmask._target_={outside.name}.broken.Margin", "task.limit=2"])
