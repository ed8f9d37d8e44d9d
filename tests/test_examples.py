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


def loaded(name: str):
    spec = importlib.util.spec_from_file_location(name, SCRIPT.with_name(f"{name}.py"))
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


def record(right, written, nfe, correct, kept=0):
    tokens = 8
    return {
        "proposal": {"right_tokens": right, "written": written},
        "source": ["injected"] * kept + ["decoded"] * (tokens - kept),
        "commit_iteration": [-1] * kept + [0] * (tokens - kept),
        "nfe": nfe,
        "correct": {"strict": correct, "flexible": True},
    }


def test_questions_are_told_apart_by_where_the_first_mistake_stands():
    """A whole right proposal has its end right too; one that is only cut short has not."""
    example = loaded("first_mistake")
    warm = {"a": record(0, 9, 8, False), "b": record(17, 30, 4, True, kept=3), "c": record(30, 30, 4, False, kept=5)}
    warm |= {"d": record(31, 30, 1, True, kept=8), "e": record(120, 140, 2, True, kept=7)}
    revoked = record(18, 40, 6, True, kept=4)
    revoked["commit_iteration"][1] = 2
    warm["f"] = revoked
    cold = {i: record(0, 0, 10, i != "c") for i in warm}
    found = {name: rest for name, *rest in example.rows(cold, warm, "strict")}
    assert list(found) == ["0", "16 to 31", "96 and more", "none"]
    assert found["0"] == [1, 0, 0, 10, 8, 100, 0]
    n, right, kept, *rest = found["16 to 31"]
    assert (n, right, kept) == (3, (17 + 30 + 18) / 3, (3 + 5 + 1) / 3)
    assert rest == [10, pytest.approx(14 / 3), pytest.approx(200 / 3), pytest.approx(200 / 3)]
    assert found["none"] == [1, 31, 8, 10, 1, 100, 100]


def test_the_first_mistakes_of_a_run(outputs, tmp_path):
    example = loaded("first_mistake")
    _, folder = run_overrides(["init=verified", "proposer=lab_weak", "task.limit=4", f"outputs={outputs}", "tau=0.7"])
    (cold,) = outputs.glob("lab-mask-*")
    found = list(example.rows(example.records(cold), example.records(folder), "flexible"))
    assert sum(row[1] for row in found) == 4


def test_first_mistakes_of_what_is_no_pair_of_runs_are_refused(outputs, tmp_path, capsys):
    example = loaded("first_mistake")
    (cold,) = outputs.glob("lab-mask-*")
    (warm,) = outputs.glob("lab-token_inject-oracle-*")
    lines = (warm / "records.jsonl").read_text(encoding="utf-8")
    (tmp_path / "records.jsonl").write_text(lines.replace('"lab-test-', '"lab-train-'), encoding="utf-8")
    for words, said in (
        ([tmp_path / "nowhere", warm], "nowhere has no records: give the folder of a run"),
        ([cold, cold], "no truth of every token"),
        ([cold, tmp_path], "no question in common"),
    ):
        with pytest.raises(SystemExit):
            example.main(list(map(str, words)))
        assert said in capsys.readouterr().err.splitlines()[-1]
    example.main([str(cold), str(warm)])
    assert "first mistake at" in capsys.readouterr().out
