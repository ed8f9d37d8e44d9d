"""The pages on adding a method are true: their files are taken from the text, put where they say, and the commands are
run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^`([\w/.]+)`\n+```\w+\n(.*?)^```", re.M | re.S)
COMMANDS = re.compile(r"^```bash\n(.*?)^```", re.M | re.S)


def section(page: str, title: str) -> str:
    text = (ROOT / page).read_text(encoding="utf-8")
    text = text[text.index(f"## {title}") :]
    return text[: text.index("\n## ", 5)]


@pytest.fixture
def outside() -> str:
    return section("README.md", "Add your own method")


@pytest.fixture
def page() -> dict[str, str]:
    """File name -> content, of the way inside the project."""
    return dict(BLOCK.findall(section("docs/add_a_method.md", "Inside the project")))


def put(files: dict[str, str], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")


def ran(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_names_three_files(page):
    python, yaml, test = page
    assert (
        python.startswith("warmexp/methods/unmask/") and yaml.startswith("conf/unmask/") and test.startswith("tests/")
    )
    lines = [line for line in page[python].splitlines() if line.strip()]
    assert len(lines) <= 30


def test_the_readme_has_the_shipped_example(outside):
    files = dict(BLOCK.findall(outside))
    assert len(files) == 2
    for name, content in files.items():
        assert content == (ROOT / "examples" / name).read_text(encoding="utf-8"), name


@pytest.mark.slow
def test_following_the_readme_adds_a_method_from_outside(outside, quiet_home, monkeypatch):
    """Two new files in an empty folder, and the page's commands as they stand there."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("WARMEXP_PLUGINS", "")
    put(dict(BLOCK.findall(outside)), quiet_home)
    commands = [shlex.split(line, comments=True) for line in COMMANDS.findall(outside)[0].splitlines()]
    assert [command[:2] for command in commands] == [["python", "-m"]] * 2
    checked, studied = (ran([sys.executable, *command[1:]], quiet_home) for command in commands)
    assert checked.count("  ok ") == 12 and "FAILED" not in checked
    assert len(list((quiet_home / "outputs").glob("*/summary.json"))) == 2 and "report.html" in studied


@pytest.mark.slow
def test_following_the_page_adds_a_method(page, quiet_home):
    """In a copy of the checkout, three new files and no other edit make `unmask=…` and its test work."""
    copy = quiet_home / "checkout"
    copy.mkdir()
    for folder in ("warmexp", "conf", "sweeps"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    put(page, copy)
    option = Path(next(n for n in page if n.startswith("conf/"))).stem
    ran([sys.executable, "-m", "warmexp", f"unmask={option}", "task.limit=3", "outputs=out"], copy)
    test = next(n for n in page if n.startswith("tests/"))
    assert "passed" in ran([sys.executable, "-m", "pytest", "-q", test], copy)
