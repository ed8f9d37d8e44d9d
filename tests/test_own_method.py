"""The README's page "Add your own method" is true: its files are taken from the text, put where it says, and run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^`([\w/.]+)`\n+```\w+\n(.*?)^```", re.M | re.S)


@pytest.fixture
def page() -> dict[str, str]:
    """File name -> content, from the README's section."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text[text.index("## Add your own method") :]
    return dict(BLOCK.findall(section[: section.index("\n## ", 5)]))


def test_the_page_names_three_files(page):
    python, yaml, test = page
    assert python.startswith("warmexp/methods/unmask/") and yaml.startswith("conf/unmask/") and test.startswith("tests/")
    lines = [line for line in page[python].splitlines() if line.strip()]
    assert len(lines) <= 30


def test_following_the_page_adds_a_method(page, quiet_home):
    """In a copy of the checkout, three new files and no other edit make `unmask=…` and its test work."""
    import subprocess
    import sys

    copy = quiet_home / "checkout"
    copy.mkdir()
    for folder in ("warmexp", "conf", "sweeps"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name, content in page.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(content)
    option = Path(next(n for n in page if n.startswith("conf/"))).stem
    command = [sys.executable, "-m", "warmexp", f"unmask={option}", "task.limit=3", "outputs=out"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=200)
    assert done.returncode == 0, done.stderr
    test = next(n for n in page if n.startswith("tests/"))
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", test], cwd=copy, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0 and "passed" in done.stdout, done.stdout
