"""The examples do what they say. (The outside method is followed word for word in test_own_method.py.)"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from warmexp.api import run_overrides

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "runs_in_pandas.py"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> Path:
    outputs = tmp_path_factory.mktemp("outputs")
    for words in (
        ["tau=0.7"],
        ["init=token_inject", "proposer=oracle"],
        ["init=token_inject", "proposer=lab_weak", "remask=linear"],
    ):
        run_overrides([*words, "task.limit=4", f"outputs={outputs}"])
    return outputs


def test_run_folders_become_tables(outputs):
    spec = importlib.util.spec_from_file_location("runs_in_pandas", SCRIPT)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    table, each = example.runs(outputs), example.records(outputs)
    assert (
        len(table) == 3 and set(table["config.choices.init"]) == {"mask", "token_inject"} and table["oracle"].sum() == 1
    )
    assert len(each) == 12
    for _, run in table.iterrows():
        stored = [json.loads(line) for line in (Path(run["folder"]) / "records.jsonl").read_text().splitlines()]
        mine = each[each["folder"] == run["folder"]]
        assert mine["id"].tolist() == [record["id"] for record in stored]
        assert mine["nfe"].mean() == run["nfe_mean"] and mine["flexible"].mean() == run["accuracy_flexible"]
    low, high = example.reach(table, "nfe_mean", "nfe_ci95")
    assert (low >= 0).all() and (table["nfe_mean"] + high).tolist() == pytest.approx(
        [interval[1] for interval in table["nfe_ci95"]]
    )


@pytest.mark.slow
def test_the_script_prints_and_draws(outputs, tmp_path):
    def run(root: Path) -> subprocess.CompletedProcess:
        words = [sys.executable, str(SCRIPT), str(root), "--out", str(tmp_path / "runs.png")]
        return subprocess.run(
            words, capture_output=True, text=True, timeout=120, env=os.environ | {"MPLCONFIGDIR": str(tmp_path)}
        )

    done = run(outputs)
    assert done.returncode == 0, done.stderr
    assert "token_inject" in done.stdout and "forwards of right and of wrong answers" in done.stdout
    assert (tmp_path / "runs.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "nothing").mkdir()
    done = run(tmp_path / "nothing")
    assert done.returncode == 2 and "holds no finished run" in done.stderr and "Traceback" not in done.stderr
