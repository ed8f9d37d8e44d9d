"""Imports run downwards: what a package may know stands in this list, lazy imports included."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "warmexp"

# From the ground up. A package imports from those before it and from itself. Modules of the top level stand alone.
ORDER = [
    ["errors", "rng", "secrets", "jsonl", "io", "console", "locks", "stored_config", "palette", "__init__"],
    ["models"],
    ["lab"],
    ["decode"],
    ["methods"],
    ["tasks"],
    ["proposers"],
    ["config"],
    ["runs"],
    ["analysis"],
    ["report"],
    ["tracking"],
    ["studies"],
    ["api"],
    ["front", "calibrate", "frequencies", "train_policy", "check_method", "harness", "bench"],
    ["__main__"],
]
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}

# Arrows that point upwards, each with what would take it away.
UPWARDS: dict[tuple[str, str], str] = {
    ("proposers", "runs"): "hf.py halves its batches with runs/batches.py, which belongs below both",
    ("tracking", "api"): "wandb_sweep.py is a command and belongs beside the studies",
    ("tracking", "studies"): "the same",
    ("studies", "__main__"): "demo.py is a command that calls the command line",
}


def package_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def arrows() -> dict[tuple[str, str], list[str]]:
    """(package, package it imports) -> the files that do."""
    found: dict[tuple[str, str], list[str]] = {}
    for file in sorted(ROOT.rglob("*.py")):
        here = file.relative_to(ROOT).parts
        package = here[0] if len(here) > 1 else here[0].removesuffix(".py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = []
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "warmexp":
                modules = (
                    [f"warmexp.{alias.name}" for alias in node.names] if node.module == "warmexp" else [node.module]
                )
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names if alias.name.split(".")[0] == "warmexp"]
            for module in modules:
                other = package_of(module)
                if other != package and other in LEVEL:
                    found.setdefault((package, other), []).append("/".join(here))
    return found


def test_every_package_has_its_place():
    there = {
        path.name.removesuffix(".py")
        for path in ROOT.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert there - {"conf", "sweeps"} == set(LEVEL)


def test_imports_run_downwards():
    upwards = {pair: files for pair, files in arrows().items() if LEVEL[pair[0]] < LEVEL[pair[1]]}
    assert {pair: files for pair, files in upwards.items() if pair not in UPWARDS} == {}
    assert set(UPWARDS) <= set(upwards), "no longer needed: take it off the list"


def test_what_imports_each_other_shares_a_level():
    found = arrows()
    assert not [pair for pair in found if pair[::-1] in found and pair not in UPWARDS and pair[::-1] not in UPWARDS]
