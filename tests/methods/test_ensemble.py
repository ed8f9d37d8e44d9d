"""Ensembles: the vote is that of runs made one by one, and the cost is their sum."""

from __future__ import annotations

import json

import pytest

from warmexp.api import planned, run_overrides
from warmexp.errors import UserError
from warmexp.runs.members import COSTS, elected

QUIET = ("tracker=none", "task.limit=4", "share=false")


def records(tmp_path, *words, name="out"):
    _, folder = run_overrides([*QUIET, f"outputs={tmp_path / name}", *words])
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def without_time(record):
    return {k: v for k, v in record.items() if not k.startswith("seconds") and k != "proposal"}


@pytest.mark.parametrize(
    ("answers", "winner"),
    [
        (["7", "8", "8"], 1),
        (["7", "8", "8", "7"], 0),  # a tie goes to the first seen
        (["[invalid]", "[invalid]", "3"], 2),
        (["[invalid]", "[invalid]"], 0),
        (["1,000", "2", "1000"], 0),
        (["5"], 0),
    ],
)
def test_the_most_frequent_answer_wins(answers, winner):
    assert elected(answers, lambda a, b: a.replace(",", "") == b.replace(",", "")) == winner


@pytest.mark.slow
def test_hex_is_the_vote_of_its_blocks(tmp_path):
    words = ["init=token_inject", "rho=0.6", "proposer=lab_weak", "tau=0.3"]
    alone = [records(tmp_path, *words, f"length.block_length={block}", name=str(block)) for block in (3, 6, 12, 24)]
    voted = records(tmp_path, *words, "ensemble=hex", "batch_size=4")
    assert len({tuple(tuple(r["ids"]) for r in rows) for rows in alone}) > 1  # blocks matter
    for each, record in zip(zip(*alone, strict=True), voted, strict=True):
        answers = [one["extracted"]["flexible"] for one in each]
        counts = [answers.count(answer) if answer != "[invalid]" else 0 for answer in answers]
        winner = each[counts.index(max(counts))]
        assert [m["answer"] for m in record["members"]] == answers
        assert [m["nfe"] for m in record["members"]] == [one["nfe"] for one in each]
        assert record["ids"] == winner["ids"] and record["correct"] == winner["correct"]
        for name in COSTS:
            if name in record and not name.startswith("seconds"):
                assert record[name] == pytest.approx(sum(one[name] for one in each)), name
    assert [without_time(r) for r in voted] == [
        without_time(r) for r in records(tmp_path, *words, "ensemble=hex", "batch_size=1", name="one")
    ]


def test_one_block_length_is_one_run(tmp_path):
    alone = records(tmp_path, "length.block_length=24")
    voted = records(tmp_path, "ensemble=hex", "ensemble.halvings=1")
    for one, record in zip(alone, voted, strict=True):
        assert without_time(one).items() <= without_time(record).items() and len(record["members"]) == 1


def test_seeds_vote(tmp_path):
    words = ["unmask.temperature=1.5", "tau=0.3"]
    alone = records(tmp_path, *words)
    voted = records(tmp_path, *words, "ensemble=self_consistency", "ensemble.n=3")
    answers = [[m["answer"] for m in record["members"]] for record in voted]
    assert [row[0] for row in answers] == [
        one["extracted"]["flexible"] for one in alone
    ]  # the first has the run's seed
    assert any(len(set(row)) > 1 for row in answers)
    assert all(record["nfe"] == sum(m["nfe"] for m in record["members"]) for record in voted)


def test_drafts_of_the_backbone_are_paid_once(tmp_path):
    words = ["init=token_inject", "rho=0.5", "proposer=self"]
    alone, voted = records(tmp_path, *words), records(tmp_path, *words, "ensemble=hex", "ensemble.halvings=2")
    assert [r["aux_forwards"] for r in voted] == [r["aux_forwards"] for r in alone]
    assert sum(r["aux_forwards"] for r in alone) > 0


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["ensemble=self_consistency"], ["ensemble=self_consistency", "unmask.temperature"]),
        (["ensemble=hex", "schedule=canvas"], ["ensemble=hex", "schedule=canvas", "schedule=blocks"]),
        (["ensemble=hex", "length.canvas_length=21", "length.block_length=7"], ["length.canvas_length=21", "even"]),
        (["ensemble=hex", "ensemble.halvings=0"], ["ensemble.halvings=0"]),
        (["ensemble=self_consistency", "ensemble.n=1", "unmask.temperature=1"], ["ensemble.n=1"]),
    ],
)
def test_one_sentence(words, named):
    with pytest.raises(UserError) as caught:
        planned(words)
    assert all(name in str(caught.value) for name in named) and "\n" not in str(caught.value)


def test_an_ensemble_is_another_run_and_none_is_the_same():
    assert planned([]).run_id == planned(["ensemble=none"]).run_id != planned(["ensemble=hex"]).run_id
