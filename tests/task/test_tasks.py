"""Tasks: ids, subsets, prompts, and the real GSM8K where it is at hand."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from warmexp.api import planned
from warmexp.errors import UserError
from warmexp.io import read_lines
from warmexp.run import run
from warmexp.task.gsm8k import GSM8K
from warmexp.task.lab import LabTask
from warmexp.task.task import subset

# The real data set is not part of the project: a folder with test.jsonl, named here or lying beside the checkout.
REAL = Path(os.environ.get("WARMEXP_GSM8K", Path(__file__).resolve().parents[3] / "shared" / "data" / "gsm8k"))
needs_gsm8k = pytest.mark.skipif(not (REAL / "test.jsonl").is_file(), reason="GSM8K is not here (set WARMEXP_GSM8K)")


def test_subsets():
    numbers = list(range(100))
    assert subset(numbers, None, None) == numbers and subset(numbers, 3, None) == [0, 1, 2]
    chosen = subset(numbers, 10, 7)
    assert len(chosen) == 10 and chosen == sorted(chosen) and chosen != numbers[:10]
    assert chosen == subset(numbers, 10, 7) != subset(numbers, 10, 8)
    with pytest.raises(UserError, match=r"task\.limit=0"):
        subset(numbers, 0, None)


def test_the_lab_task():
    some = LabTask(limit=5).load()
    assert [q.id for q in some] == [q.id for q in LabTask(limit=9).load()][:5]
    for q in some:
        assert q.prompt.startswith("Question: ") and q.prompt.endswith("\nAnswer:")
        assert q.solution.rstrip().endswith(f"#### {q.target}")
    random = LabTask(limit=5, subset_seed=3).load()
    assert len(random) == 5 and {q.id for q in random} != {q.id for q in some}


def test_gsm8k_from_a_file(tmp_path):
    row = {"question": "Ann has 3 pens and buys 1,200. How many?", "answer": "3+1200=<<3+1200=1203>>1,203\n#### 1,203"}
    (tmp_path / "test.jsonl").write_text(json.dumps(row) + "\n")
    for path in (tmp_path, tmp_path / "test.jsonl"):
        (question,) = GSM8K(path=str(path)).load()
        assert question.prompt == f"Question: {row['question']}\nAnswer:" and question.target == "1,203"
    (tmp_path / "test.jsonl").write_text('{"question": "x"}\n')
    with pytest.raises(UserError, match="line 1"):
        GSM8K(path=str(tmp_path)).load()
    with pytest.raises(UserError, match=r"task\.path"):
        GSM8K(path=str(tmp_path), split="train")


@needs_gsm8k
@pytest.mark.parametrize("method", [["init=mask"], ["init=token_inject", "remask=linear"], ["init=embed_interp", "init.duration=masked"]])
def test_real_questions_run_end_to_end(quiet_home, method):
    """The lab's models on real GSM8K: garbage answers, sound records."""
    plan = planned(["task=gsm8k", f"task.path={REAL}", "task.limit=6", "task.subset_seed=0", "proposer=lab_weak", "batch_size=3", *method])
    summary = run(plan, say=lambda _: None)
    assert summary["n"] == 6 and summary["nfe_mean"] >= 1
    for record in read_lines(plan.folder / "records.jsonl"):
        assert record["id"].startswith("gsm8k-test-") and record["question"].startswith("Question: ")
        assert isinstance(record["correct"]["strict"], bool) and record["target"]


@needs_gsm8k
def test_the_real_test_set_is_whole():
    questions = GSM8K(path=str(REAL)).load()
    assert len(questions) == 1319 and questions[0].target == "18"
    assert all(q.target.replace(",", "").lstrip("-").replace(".", "").isdigit() for q in questions)
