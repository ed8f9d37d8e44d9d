"""What stands on a canvas before the model has said anything: hints from the reference, and scaffolds."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest

from warmexp.api import planned, run_overrides
from warmexp.check_method.problems import END, MASK, Letters, _backbone
from warmexp.decode.canvas import Question
from warmexp.decode.loop import decode
from warmexp.decode.strategy import Strategies
from warmexp.errors import UserError
from warmexp.methods.anchor.none import NoAnchor
from warmexp.methods.cache.none import NoCache
from warmexp.methods.init.hints import Hints
from warmexp.methods.init.scaffold import Scaffold
from warmexp.methods.length.fixed import FixedLength
from warmexp.methods.remask.t2m import T2M
from warmexp.methods.schedule.blocks import Blocks
from warmexp.methods.unmask.threshold import Threshold
from warmexp.rng import uniform


def solution(count: int, tail: int = 0) -> Question:
    draw = Random(count)
    return Question("q", (1,), tuple(draw.randrange(1, MASK) for _ in range(count)) + (END,) * tail, written=count)


def slow_hints(rule: Hints, question: Question, length: int, seed: int) -> dict[int, int]:
    """Position -> token, one chunk at a time."""
    whole = question.proposal[: question.written]
    text = whole[: length - rule.rest]
    sizes = uniform(seed, "q", "chunks", len(text))
    chunks, i = [], 0
    while i < len(text):
        size = min(rule.least + int(sizes[len(chunks)] * (rule.most - rule.least + 1)), len(text) - i)
        if size < rule.least:
            break
        chunks.append(range(i, i + size))
        i += size
    ranked = uniform(seed, "q", "hints", len(chunks))
    order = sorted(range(len(chunks)), key=lambda n: (ranked[n], n))
    shown = order[int(len(chunks) * (1 - rule.rate)) :]
    if rule.last != "drawn" and chunks:
        shown = [n for n in shown if n != len(chunks) - 1] + ([len(chunks) - 1] if rule.last == "shown" else [])
    found, free = {}, 0
    factor = min(max(1, (length - rule.rest) / len(whole)), rule.stretch)
    for n in sorted(shown):
        at = max(free, int(factor * chunks[n].start))
        for token in (text[j] for j in chunks[n]):
            if at < length - rule.rest:
                found[at] = token
            at += 1
        free = at
    return found


@pytest.mark.parametrize("last", ["free", "drawn", "shown"])
@pytest.mark.parametrize(
    ("count", "length", "rest"), [(40, 96, 30), (60, 64, 10), (23, 48, 0), (3, 20, 0), (50, 40, 8)]
)
def test_hints_as_they_are_described(last, count, length, rest):
    for rate in (0.0, 0.4, 1.0):
        rule = Hints(rate, rest=rest, last=last)
        for seed in range(6):
            start = rule.start(solution(count, tail=5), length, seed)
            found = {i: int(start.tokens[i]) for i in start.injected.nonzero()[0].tolist()}
            assert found == slow_hints(rule, solution(count), length, seed)
            assert (start.fixed == start.injected).all() and not start.injected[length - rest :].any()


def test_all_hints_without_stretch_are_the_solution():
    start = Hints(1.0, least=5, most=5, stretch=1.0, rest=0, last="shown").start(solution(20), 32, 0)
    assert (
        start.tokens[:20].tolist() == list(solution(20).proposal) and start.fixed.tolist() == [True] * 20 + [False] * 12
    )
    assert not Hints(0.0, rest=0).start(solution(20), 32, 0).injected.any()


def composed(init, length=12, block=4, remask=None):
    from warmexp.methods.remask.none import NoRemask

    init.bind(Letters(), length)
    return Strategies(
        init, Threshold(0.3), remask or NoRemask(), Blocks(), NoCache(), FixedLength(length, block), NoAnchor()
    )


def test_hints_are_fixed_and_revision_leaves_them():
    rule = Hints(0.5, least=2, most=3, rest=0, stretch=1.0, last="drawn")
    question = solution(12)
    done = decode(_backbone(0), [question], composed(rule, remask=T2M("low_prob", 1.0, share=1.0)))[0]
    start = rule.start(question, 12, 0)
    for i in start.fixed.nonzero()[0]:
        assert done.ids[i] == start.tokens[i] and done.source[i] == "fixed" and done.commit_iteration[i] == -1
    assert done.revocations and not {i for _, i, *_ in done.revocations} & set(start.fixed.nonzero()[0].tolist())


def test_a_scaffold_stands_and_slots_hold_what_they_may():
    letters = Letters()
    rule = Scaffold("ab{x:3}c{rest}", without="dfg")
    banned = {letters.encode(c)[0] for c in "dfg"}  # not their pieces: what the pieces of tokens say counts
    made = composed(rule)
    for seed in range(4):
        done = decode(_backbone(seed), [Question("q", (1, 2)), Question("r", (3,))], made, seed)
        for one in done:
            assert one.ids[:2] == tuple(letters.encode("ab")) and one.ids[5:6] == tuple(letters.encode("c"))
            assert [i for i, source in enumerate(one.source) if source == "fixed"] == [0, 1, 5]
            assert not {letters.pieces().get(token) for i, token in enumerate(one.ids) if i not in (0, 1, 5)} & {
                "d",
                "f",
                "g",
            }
            assert END not in one.ids and MASK not in one.ids
    assert banned


def test_behind_a_template_without_a_rest_stands_the_end():
    rule = Scaffold("{x:3}a{y:2}")
    done = decode(_backbone(1), [Question("q", (1, 2))], composed(rule))[0]
    assert done.ids[6:] == (END,) * 6 and END not in done.ids[:6]
    assert done.source[6:] == ("fixed",) * 6 and rule.rules_out == (END, MASK)


REFUSED = {
    "init=hints": ["init=hints", "proposer=lab_strong", "proposer=oracle"],
    "init=hints proposer=oracle init.rest=48": ["init.rest=48", "length.canvas_length=48"],
    "init=hints proposer=oracle init.most=3": ["init.most=3", "init.least"],
    "init=scaffold init.template=text": ["init.template='text'", "{answer:4}"],
    "init=scaffold init.template='{a:2}{a:3}'": ["each name once"],
    "init=scaffold init.template='{a}{b}'": ["at most one slot"],
    "init=scaffold init.template='{a:0}'": ["at least one token"],
    "init=scaffold init.template='{a:60}'": ["60 tokens", "length.canvas_length=48"],
    "init=scaffold init.schema=missing.json": ["init.schema=missing.json", "FileNotFoundError"],
    "init=scaffold init.schema=examples/structured/schema.json length.canvas_length=64": ["task.stop=[]", "'Question:'"],
}  # fmt: skip


@pytest.mark.parametrize("words", REFUSED)
def test_refused_in_one_sentence(words, tmp_path):
    with pytest.raises(UserError) as refused:
        planned([*_split(words), "task.limit=1", f"outputs={tmp_path}"])
    assert all(part in str(refused.value) for part in REFUSED[words]) and "\n" not in str(refused.value), refused.value


def _split(words: str) -> list[str]:
    return words.split(" ")


def test_hints_are_labelled_as_an_oracle(tmp_path):
    plan = planned(["init=hints", "proposer=oracle", "init.rest=0", "task.limit=1", f"outputs={tmp_path}"])
    assert plan.oracle


EXAMPLE = [
    "task=jsonl",
    "task.path=examples/structured/questions.jsonl",
    r"task.pattern='total\W+(\d+)'",
    "task.stop=[]",
    "init=scaffold",
    "init.schema=examples/structured/schema.json",
    "length.canvas_length=64",
]


def test_every_output_of_the_example_parses(tmp_path):
    _, folder = run_overrides([*EXAMPLE, "tau=0.3", f"outputs={tmp_path}"])
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert len(records) == 8
    for record in records:
        assert list(json.loads(record["response"])) == ["work", "total"]
        assert record["source"].count("decoded") == 27 and record["source"].count("mask") == 0
    readme = Path("examples/structured/README.md").read_text(encoding="utf-8").replace('"', "").replace("'", "")
    assert all(word.replace("'", "") in readme for word in EXAMPLE)


def test_what_a_schema_says_is_the_identity_and_not_where_it_is(tmp_path):
    runs = []
    for name, tokens in (("a", 3), ("b", 3), ("c", 4)):
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps({"properties": {"x": {"tokens": tokens}, "y": {}}}))
        plan = planned(["init=scaffold", f"init.schema={file}", "task.stop=[]", "task.limit=1"])
        runs.append((plan.run_id, plan.strategies.init.template))
    assert runs[0] == runs[1] and runs[0][0] != runs[2][0] and runs[0][1] == '{\n  "x": "{f0:3}",\n  "y": "{f1:16}"\n}'


def test_a_scaffolded_answer_on_the_lab(tmp_path):
    words = ["task.limit=4", "init=scaffold", "init.template='{work:30}\n#### {answer:2}'", f"outputs={tmp_path}"]
    _, folder = run_overrides(words)
    for line in (folder / "records.jsonl").read_text().splitlines():
        record = json.loads(line)
        assert record["response"].count("\n####") >= 1 and record["source"].count("decoded") == 32
        assert np.isfinite(
            [c for c, s in zip(record["confidence"], record["source"], strict=True) if s == "decoded"]
        ).all()
