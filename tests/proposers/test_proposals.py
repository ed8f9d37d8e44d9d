"""Proposals: re-encoding through text, the store, the oracle's corruption, transformers models as proposers."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest

from tests.checkpoints import EOS, MASK
from warmexp.errors import UserError
from warmexp.models.checkpoint import Checkpoint
from warmexp.proposers.file import FileProposer
from warmexp.proposers.oracle import OracleProposer
from warmexp.proposers.proposal import Asked, Proposal, encode
from warmexp.proposers.store import proposals_for
from warmexp.tasks.task import TaskQuestion

SOLUTION = " Tom has 5 + 3 = 8 apples.\nHe gives away 2, so 8 - 2 = 6 are left.\n#### 6"


@pytest.fixture
def tokenizer(checkpoint):
    return Checkpoint(str(checkpoint)).tokenizer


def test_a_proposal_goes_through_text(tokenizer):
    encoded = encode(Proposal(" 5 + 3"), tokenizer, 32, "mask")
    assert tokenizer.decode(list(encoded.ids)) == " 5 + 3" and not encoded.cut


def test_special_tokens_are_never_proposed(tokenizer):
    encoded = encode(Proposal("a<|mdm_mask|><|endoftext|>"), tokenizer, 64, "mask")
    assert not {EOS, MASK} & set(encoded.ids)
    assert tokenizer.decode(list(encoded.ids)) == "a<|mdm_mask|><|endoftext|>"


def test_too_long_is_cut_and_flagged(tokenizer):
    encoded = encode(Proposal("abcdefgh"), tokenizer, 5, "eos")
    assert encoded.cut and tokenizer.decode(list(encoded.ids)) == "abcde"


def test_what_follows_the_end_is_a_choice(tokenizer):
    assert len(encode(Proposal("abc"), tokenizer, 8, "mask").ids) == 3
    assert encode(Proposal("abc"), tokenizer, 8, "eos").ids[3:] == (EOS,) * 5
    with pytest.raises(UserError, match=r"proposer\.tail=pad"):
        encode(Proposal("abc"), tokenizer, 8, "pad")


def test_an_oracle_corrupts_at_its_rate():
    questions = [Asked(f"q{i}", "p", SOLUTION) for i in range(200)]

    def texts(rate: float, seed: int = 0) -> list[str]:
        return [p.text for _, p in OracleProposer(corruption=rate).propose(questions, "cpu", seed, None)]

    assert set(texts(0)) == {SOLUTION}
    assert texts(0.3) == texts(0.3) != texts(0.3, seed=1)
    words = SOLUTION.split()
    changed = [sum(a != b for a, b in zip(text.split(), words, strict=True)) / len(words) for text in texts(0.3)]
    # "####" and words like "apples." keep a part; the share of changed words is near the rate
    assert 0.2 < sum(changed) / len(changed) < 0.4
    assert all("####" in text and text.count("\n") == 2 for text in texts(1.0))
    assert all(text.split()[-1] != "6" for text in texts(1.0))


def corrupted(kind: str, rate: float, solutions: list[str]) -> list[str]:
    questions = [Asked(f"q{i}", "p", solution) for i, solution in enumerate(solutions)]
    return [p.text for _, p in OracleProposer(corruption=rate, kind=kind).propose(questions, "cpu", 0, None)]


def test_numbers_alone_are_corrupted():
    for text in corrupted("numbers", 1.0, [SOLUTION] * 20):
        assert re.sub(r"\d+", "#", text) == re.sub(r"\d+", "#", SOLUTION)
        assert not set(zip(re.findall(r"\d+", text), re.findall(r"\d+", SOLUTION), strict=True)) & {
            (n, n) for n in map(str, range(999))
        }
    assert set(corrupted("numbers", 0.0, [SOLUTION] * 5)) == {SOLUTION}


def test_one_step_is_left_out_and_never_the_answer():
    lines = ["a 1", "b 2", "c 3", "#### 3"]
    texts = corrupted("step", 1.0, ["\n".join(lines)] * 60)
    assert set(texts) == {"\n".join(x for x in lines if x != left_out) for left_out in lines[:3]}
    assert 10 < sum(text.count("\n") == 2 for text in corrupted("step", 0.5, ["\n".join(lines)] * 60)) < 50
    assert corrupted("step", 1.0, ["#### 3"]) == ["#### 3"]


def test_words_before_the_solution():
    texts = corrupted("preface", 0.5, [SOLUTION] * 60)
    assert set(texts) == {SOLUTION, f"So we get:{SOLUTION}"} and 15 < texts.count(SOLUTION) < 45
    assert corrupted("preface", 1.0, ["6"]) == ["So we get: 6"]


def test_another_questions_solution():
    oracle = OracleProposer(corruption=0.5, kind="swap")
    training = [TaskQuestion(f"t{i}", "p", f"#### {i}", str(i)) for i in range(9)]
    oracle.bind(None, 8, SimpleNamespace(training=lambda n: training[:n]))
    texts = [p.text for _, p in oracle.propose([Asked(f"q{i}", "p", SOLUTION) for i in range(60)], "cpu", 0, None)]
    assert set(texts) - {SOLUTION} == {q.solution for q in training}
    assert 15 < texts.count(SOLUTION) < 45
    alone = [p.text for i in range(60) for _, p in oracle.propose([Asked(f"q{i}", "p", SOLUTION)], "cpu", 0, None)]
    assert alone == texts, "what a question gets does not depend on what else is asked"
    with pytest.raises(UserError, match=r"proposer\.kind=swap"):
        oracle.bind(None, 8, SimpleNamespace())


class Counting:
    """A proposer that counts what it is asked for."""

    oracle, stored, tail = False, True, "mask"

    def __init__(self, name: str = "a"):
        self.name, self.asked = name, []

    def identity(self):
        return {"kind": self.name}

    def propose(self, questions, device, seed, progress):
        for q in questions:
            self.asked.append(q.id)
            yield q.id, Proposal(f"{self.name} on {q.prompt}", ((0, 1, -0.5),), 0.25)


def test_the_store_never_asks_twice(tmp_path):
    questions = [Asked(f"q{i}", f"prompt {i}", "") for i in range(5)]
    one = Counting()
    first = proposals_for(one, questions[:3], tmp_path, "cpu", 0, None)
    again = proposals_for(one, questions, tmp_path, "cpu", 0, None)
    assert one.asked == ["q0", "q1", "q2", "q3", "q4"]
    assert {k: again[k] for k in first} == first and again["q4"] == Proposal("a on prompt 4", ((0, 1, -0.5),), 0.25)
    other = Counting("b")
    assert proposals_for(other, questions, tmp_path, "cpu", 0, None)["q0"].text == "b on prompt 0"


def test_the_same_text_in_several_turns_is_another_prompt(tmp_path):
    one, two = Counting(), [Asked("q", "a b", ""), Asked("q", "a b", "", turns=("a", "b", "c"))]
    for question in [*two, *two]:
        proposals_for(one, [question], tmp_path, "cpu", 0, None)
    assert one.asked == ["q", "q"]


def test_the_store_survives_a_kill_between_proposals(tmp_path):
    class Dies(Counting):
        def propose(self, questions, device, seed, progress):
            for i, pair in enumerate(super().propose(questions, device, seed, progress)):
                if i == 2:
                    raise KeyboardInterrupt
                yield pair

    questions = [Asked(f"q{i}", f"prompt {i}", "") for i in range(5)]
    with pytest.raises(KeyboardInterrupt):
        proposals_for(Dies(), questions, tmp_path, "cpu", 0, None)
    file = next(tmp_path.glob("*.jsonl"))
    with file.open("ab") as handle:
        handle.write(b'{"prompt_sha')
    one = Counting()
    assert len(proposals_for(one, questions, tmp_path, "cpu", 0, None)) == 5
    assert one.asked == ["q2", "q3", "q4"]


def test_a_file_of_proposals(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text(
        json.dumps({"id": "q1", "text": "five", "tokens": [[0, 4, -0.1]]})
        + "\n\n"
        + json.dumps({"id": "q2", "text": "six"})
        + "\n"
    )
    asked = [Asked("q1", "p", "s")]
    assert dict(FileProposer(str(file)).propose(asked, "cpu", 0, None)) == {"q1": Proposal("five", ((0, 4, -0.1),))}
    file.write_text('{"id": "q1"}\n')
    with pytest.raises(UserError, match="line 1"):
        FileProposer(str(file)).identity()


@pytest.mark.parametrize(
    "more",
    [{"tokens": [[0, 9, -0.1]]}, {"tokens": [[0, 2, 0.1]]}, {"tokens": [[2, 4, -1], [0, 2, -1]]}, {"tokens": [[0, 2]]}, {"end": 0.5},
     {"tokens": [[3, 2, -1]]}, {"end": "late"}],
)  # fmt: skip
def test_a_file_whose_probabilities_make_no_sense(tmp_path, more):
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps({"id": "q1", "text": "five", **more}) + "\n")
    with pytest.raises(UserError, match="line 1"):
        FileProposer(str(file)).identity()


def test_probabilities_in_a_file_are_part_of_its_identity(tmp_path):
    file, found = tmp_path / "mine.jsonl", []
    for more in ({}, {"tokens": [[0, 4, -0.1]]}, {"tokens": [[0, 4, -0.2]]}, {"end": -1.0}):
        file.write_text(json.dumps({"id": "q1", "text": "five", **more}) + "\n")
        found.append(FileProposer(str(file)).identity()["texts"])
    assert len(set(found)) == 4


def test_what_the_author_knew_reaches_decoder_and_records(checkpoint, quiet_home, monkeypatch):
    """Proposals with and without token probabilities, from a file, through a whole run."""
    import warmexp.runs.run as module
    from warmexp.api import planned
    from warmexp.io import read_lines

    file = quiet_home / "mine.jsonl"
    words = [
        "backbone=checkpoint", f"backbone.path={checkpoint}", "backbone.dtype=float32", "length.canvas_length=8", "length.block_length=4",
        "proposer=file", f"proposer.path={file}", "init=token_inject", "task.limit=2", "device=cpu", f"outputs={quiet_home}/outputs",
    ]  # fmt: skip
    ids = ["lab-test-00000", "lab-test-00001"]
    rows = [
        {"id": ids[0], "text": "ab12", "tokens": [[0, 2, -0.5], [2, 3, -1.0], [3, 4, -2.0]]},
        {"id": ids[1], "text": "five"},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    seen, real = {}, module.stream

    def spy(backbone, questions, *rest):
        questions = list(questions)
        seen.update({q.id: q for q in questions})
        return real(backbone, questions, *rest)

    monkeypatch.setattr(module, "stream", spy)
    plan = planned(words)
    assert [q.id for q in plan.questions] == ids
    module.run(plan, say=lambda _: None)
    # "Answer:" is followed by " ab12": a byte each, the space without an author, a and b each a part of the first
    # token.
    assert seen[ids[0]].trust == pytest.approx(
        [1.0, *[pow(2.718281828, -0.5)] * 2, pow(2.718281828, -1), pow(2.718281828, -2)]
    )
    assert len(seen[ids[0]].proposal) == 5 and seen[ids[1]].trust == (1.0,) * 5
    first, second = (record["proposal"] for record in read_lines(plan.folder / "records.jsonl"))
    assert (
        first["trust"] == [1.0, 0.60653, 0.60653, 0.36788, 0.13534]
        and first["straddles"] == [1, 2]
        and first["text"] == " ab12"
    )
    assert second["trust"] is None and second["straddles"] == []
