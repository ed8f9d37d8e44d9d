"""Retrieval: which training question answers, and that a question never gets its own solution."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from warmexp.api import planned, run_overrides
from warmexp.errors import UserError
from warmexp.io import read_lines
from warmexp.proposers.proposal import Asked
from warmexp.proposers.retrieval import RetrievalProposer
from warmexp.runs.run import run
from warmexp.tasks.gsm8k import GSM8K
from warmexp.tasks.lab import LabTask
from warmexp.tasks.task import TaskQuestion

POOL = [
    "Tom buys 3 red apples and 4 green apples.",
    "A train travels 60 miles per hour for 3 hours.",
    "Nadia reads 15 pages a day.",
    "Nadia reads 15 pages a day for a week.",
]


@dataclass
class Shelf:
    """A task that is only a training split."""

    questions: list[str] = field(default_factory=lambda: list(POOL))

    def training(self, limit: int) -> list[TaskQuestion]:
        made = [
            TaskQuestion(f"train-{i}", f"shots and more shots {q}", f"solution {i}", str(i), q)
            for i, q in enumerate(self.questions)
        ]
        return made[:limit]


def retrieve(*asked: str, ids: list[str] | None = None, **options) -> list[str]:
    proposer = RetrievalProposer(**options)
    proposer.bind(None, 0, Shelf())
    ids = ids or [f"test-{i}" for i in range(len(asked))]
    questions = [Asked(i, "shots and more shots " + q, "its own solution", q) for i, q in zip(ids, asked, strict=True)]
    found = dict(proposer.propose(questions, "cpu", 0, lambda *_: None))
    return [found[i].text for i in ids]


def test_the_nearest_question_answers():
    assert retrieve("How far does a train go in 3 hours at 50 miles per hour?", "Ann buys 9 green apples.") == [
        "solution 1",
        "solution 0",
    ]


def test_a_question_never_gets_its_own_solution():
    """The same text (whatever its case and spaces) or the same id is left out; the next best answers."""
    assert retrieve("Nadia reads 15 pages a day.") == ["solution 3"]
    assert retrieve("  nadia READS 15  pages a day. ") == ["solution 3"]
    assert retrieve("Nadia reads 15 pages a day, every day.", ids=["train-2"]) == ["solution 3"]
    assert retrieve("Nadia reads 15 pages a day, every day.") == ["solution 2"]


def test_what_else_is_asked_does_not_matter():
    asked = ["Tom reads 3 pages", "a train of apples", *POOL]
    assert retrieve(*asked) == [retrieve(q)[0] for q in asked]


def test_nothing_in_common_is_no_proposal():
    assert retrieve("Zwölf Boxkämpfer jagen Viktor") == [""]
    assert retrieve("Nadia", pool=2) == [""]


def test_the_pool_is_the_training_split_and_part_of_the_identity():
    def identity(pool: int, **options):
        proposer = RetrievalProposer(pool=pool)
        proposer.bind(None, 0, LabTask(limit=3, **options))
        return proposer.identity(), proposer.indexed

    first, indexed = identity(50)
    assert [q.id for q in indexed] == [f"lab-train-{i:05d}" for i in range(50)] and all(
        q.question in q.prompt for q in indexed
    )
    test = {q.question for q in LabTask().load()}
    assert not test & {q.question for q in indexed}
    assert first["pool"] == 50 and identity(50)[0] == first == identity(50, split="calibration")[0] != identity(49)[0]


def test_gsm8k_gives_its_training_questions(tmp_path):
    for split, n in (("test", 2), ("train", 5)):
        lines = [json.dumps({"question": f"{split} {i}?", "answer": f"#### {i}"}) for i in range(n)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    task = GSM8K(path=str(tmp_path), limit=1, subset_seed=3)
    assert [(q.id, q.question) for q in task.training(3)] == [(f"gsm8k-train-{i:05d}", f"train {i}?") for i in range(3)]
    alone = GSM8K(path=str(tmp_path / "test.jsonl"))
    with pytest.raises(UserError, match="no training split"):
        alone.training(3)
    assert len(GSM8K(path=str(tmp_path / "train.jsonl"), split="train").training(9)) == 5


def test_a_jsonl_task_gives_the_training_file_that_it_names(tmp_path):
    """Whose first line is not left out for the first question, although neither has an id of its own."""
    for name, asked in (("test", ["Nadia reads 15 pages."]), ("train", ["Nadia reads 15 pages a day.", *POOL[:2]])):
        lines = [json.dumps({"question": q, "answer": f"{name} {i} #### {i}"}) for i, q in enumerate(asked)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    words = [
        "task=jsonl", f"task.path={tmp_path}/test.jsonl", "proposer=retrieval", "init=token_inject", "rho=1",
        f"outputs={tmp_path}/out",
    ]  # fmt: skip
    plan = planned([*words, f"task.training_path={tmp_path}/train.jsonl"])
    assert [q.id for q in plan.task.training(2)] == ["jsonl-train-00000", "jsonl-train-00001"]
    asked = [Asked(q.id, q.prompt, q.solution, q.question) for q in plan.questions]
    found = dict(plan.proposer.propose(asked, "cpu", 0, lambda *_: None))
    assert found["jsonl-00000"].text == "train 0 #### 0"
    with pytest.raises(UserError, match=r"task=jsonl has no training split: give task\.training_path=FILE\.jsonl"):
        planned(words)
    with pytest.raises(UserError, match=r"task\.training_path"):
        planned([*words, f"task.training_path={tmp_path}/missing.jsonl"])


@pytest.mark.parametrize(
    "remask", ["t2m", *(pytest.param(name, marks=pytest.mark.slow) for name in ("joint_threshold", "tolerator"))]
)
def test_a_retrieved_draft_stands_whole_and_is_revised(remask, tmp_path):
    words = [
        "proposer=retrieval",
        "proposer.pool=200",
        "init=token_inject",
        "rho=1",
        "task.limit=4",
        f"remask={remask}",
    ]
    words += ["remask.rounds=2"] if remask == "tolerator" else []
    summary, folder = run_overrides([*words, f"outputs={tmp_path}"])
    records = list(read_lines(folder / "records.jsonl"))
    assert summary["n"] == 4 and any(record["revocations"] for record in records)
    _, other = run_overrides([*words, "batch_size=1", f"outputs={tmp_path}/again"])
    assert [one["ids"] for one in records] == [one["ids"] for one in read_lines(other / "records.jsonl")]


def test_a_task_without_a_training_split_says_so():
    proposer = RetrievalProposer()
    proposer.bind(None, 0, object())
    with pytest.raises(UserError, match="needs a task with a training split"):
        proposer.identity()
    with pytest.raises(UserError, match=r"proposer\.pool=0"):
        RetrievalProposer(pool=0)


@pytest.mark.parametrize("split", ["test", "train"])
def test_a_run_warm_started_by_retrieval(checkpoint, quiet_home, split):
    """Also on the training split itself, where each question's own solution lies in the pool."""
    words = [
        "backbone=checkpoint", f"backbone.path={checkpoint}", "backbone.dtype=float32", "length.canvas_length=24", "length.block_length=8",
        "proposer=retrieval", "proposer.pool=300", "init=token_inject", "rho=0.5", f"task.split={split}", "task.limit=5", "device=cpu",
        f"outputs={quiet_home}/outputs",
    ]  # fmt: skip
    plan = planned(words)
    summary = run(plan, say=lambda _: None)
    assert summary["oracle"] is False and summary["seconds_propose"] > 0
    pool = {" " + q.solution: q for q in plan.task.training(300)}
    for record, question in zip(read_lines(plan.folder / "records.jsonl"), plan.questions, strict=True):
        assert record["proposal"]["text"] in pool
        assert pool[record["proposal"]["text"]].question != question.question
        assert record["proposal"]["trust"] is None and record["proposal"]["straddles"] == []
    assert planned([*words[:6], "proposer.pool=200", *words[7:]]).run_id != plan.run_id
