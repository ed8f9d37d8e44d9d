"""What the project says about itself outside the code agrees with the code: versions, links, commands."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import warmexp
from warmexp.palette import PALETTE
from warmexp.tasks.score import exact_match, flexible_extract, strict_match

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "outputs" / "README.md"])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def of(name: str):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_hooks_are_of_the_version_that_the_tests_run_with():
    pinned = re.search(r"^ruff==(.+)$", (ROOT / "constraints.txt").read_text(), re.M)
    hooks = {repo["repo"]: repo.get("rev") for repo in of(".pre-commit-config.yaml")["repos"]}
    assert hooks["https://github.com/astral-sh/ruff-pre-commit"] == f"v{pinned[1]}"


def test_the_workflow_runs_every_python_that_is_promised():
    promised = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d", c)]
    jobs = of(".github/workflows/tests.yml")["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == promised
    first, last = promised[0], promised[-1]
    beyond = int(last.partition(".")[2]) + 1
    assert PROJECT["requires-python"] == f">={first},<3.{beyond}"
    makefile = (ROOT / "Makefile").read_text()
    assert f"< (3, {beyond})" in makefile and f"needs Python {first} to {last}" in makefile
    assert all(f"Python {first} to {last}" in (ROOT / page).read_text() for page in ("README.md", "CONTRIBUTING.md"))
    commands = [step.get("run", "") for step in jobs["lint"]["steps"]]
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)[1].split("\n\t")
    checks = [line.strip().removeprefix("$(BIN)/") for line in lint]
    assert len(checks) == 3 and [check for check in checks if f".venv/bin/{check}" not in commands] == []


def test_types_are_checked_where_the_hooks_check_them():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert "warmexp/models" in tool["files"] and all((ROOT / folder).is_dir() for folder in tool["files"])
    assert "ignore_errors" not in str(tool) and "ignore_missing_imports" not in tool
    hooks = [hook["id"] for repo in of(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert hooks == ["ruff-check", "ruff-format", "mypy"]


@pytest.mark.parametrize(
    "file", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda file: file.name
)
def test_issue_templates_are_forms(file):
    form = of(str(file.relative_to(ROOT)))
    if file.name == "config.yml":
        return
    assert form["name"] and form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert fields and len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)


def test_the_version_is_one():
    assert of("CITATION.cff")["version"] == warmexp.__version__
    assert f"## [{warmexp.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def anchors(page: Path) -> set[str]:
    """The addresses of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_commands_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"
    if page.name == "CHANGELOG.md":  # it names commands of before
        return
    for module in set(re.findall(r"python -m (warmexp[\w.]*\w)", text)):
        spec = importlib.util.find_spec(module)
        assert spec, f"{page.name} runs {module}"
        if spec.submodule_search_locations is not None:
            assert importlib.util.find_spec(f"{module}.__main__"), f"{page.name} runs {module}, which has no command"
    for file in set(re.findall(r"`((?:warmexp|conf|sweeps|tests|docs|examples)/[\w/.]+\.\w+)`", text)):
        example = "margin" in file or re.search(r"GROUP|NAME", file)
        assert example or (ROOT / file).exists(), f"{page.name} names {file}"


def test_the_scoring_traps_are_as_the_page_says():
    rows = re.findall(
        r"^\| `(.+?)` \| (right|wrong) \| (right|wrong) \|",
        (ROOT / "docs" / "footguns.md").read_text(encoding="utf-8"),
        re.M,
    )
    assert len(rows) >= 7
    for text, strict, flexible in rows:
        for verdict, read in ((strict, strict_match), (flexible, flexible_extract)):
            assert exact_match(read(text), "18") == (verdict == "right"), (text, read.__name__)


def test_colours_and_types_stand_in_one_table():
    """What is written twice comes to differ: pictures share warmexp/palette.py, names of types are
    models/weights.py's."""
    files = [file for file in (ROOT / "warmexp").rglob("*") if file.suffix in (".py", ".js")]
    texts = {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}
    assert [name for name, text in texts.items() if any(colour.lower() in text.lower() for colour in PALETTE)] == [
        "warmexp/palette.py"
    ]
    assert [name for name, text in texts.items() if re.search(r'"bfloat16": torch\.bfloat16', text)] == [
        "warmexp/models/weights.py"
    ]
