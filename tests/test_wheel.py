"""An installed wheel finds its configuration, studies and models from any working directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The wheel, built offline with the build backend at hand and unpacked as pip would unpack it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def test_what_ships(installed):
    package = installed / "warmexp"
    assert (package / "conf" / "config.yaml").is_file() and (package / "sweeps" / "demo.yaml").is_file()
    assert (installed / "hydra_plugins" / "warmexp_sweeper.py").is_file()
    assert (package / "lab" / "models" / "backbone" / "model.safetensors").is_file()
    assert (package / "report" / "html" / "assets" / "template.html").is_file()
    assert "warmexp = warmexp.__main__:main" in next(installed.glob("*.dist-info/entry_points.txt")).read_text()
    assert "Apache License" in next(installed.glob("*.dist-info/licenses/LICENSE")).read_text()
    assert sum(f.stat().st_size for f in (package / "lab" / "models").rglob("*") if f.is_file()) < 30e6


@pytest.mark.slow
def test_the_source_has_the_documentation(tmp_path):
    """All that the README links to, and what the tests need."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    links = re.findall(r"\]\(([^)#\s]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    wanted = {link for link in links if not link.startswith("http")} | {"tests/conftest.py", "conf/config.yaml"}
    assert wanted <= names and "docs/report.md" in wanted, wanted - names


@pytest.mark.slow
def test_it_runs_from_another_directory(installed, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-P",
        "-m",
        "warmexp",
        "init=embed_interp",
        "lambda=0.3",
        "task.limit=2",
        "proposer=lab_weak",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=240
    )
    assert done.returncode == 0, done.stderr
    (summary,) = (tmp_path / "outputs").glob("lab-embed_interp-lab_weak-*/summary.json")
    assert summary.is_file()
    command = [sys.executable, "-P", "-m", "warmexp", "-m", "+sweep=smoke", "--dry-run"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=240
    )
    assert done.returncode == 0 and "study smoke: 4 jobs" in done.stdout, done.stderr
    where = [sys.executable, "-P", "-c", "import warmexp.config.keys as c; print(c.conf_dir())"]
    assert (
        str(installed)
        in subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120).stdout
    )
