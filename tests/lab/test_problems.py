"""The generator: the same problems everywhere and always, right arithmetic, nothing of the held-out splits in
training."""

import re

import pytest

from warmexp.lab import problems
from warmexp.lab.splits import Splits

STEP = re.compile(r"(\d+) ([-+x/]) (\d+) = (\d+)")
SAMPLE = {split: problems.load(split, 3_000) for split in problems.SPLITS}


def test_sizes_ids_and_limit():
    assert len(problems.load("test")) == problems.SPLITS["test"] >= 1_000
    assert len(problems.load("calibration")) == problems.SPLITS["calibration"]
    assert problems.load("test", 5) == problems.load("test")[:5]
    assert re.fullmatch(r"lab-test-\d{5}", problems.load("test", 1)[0].id)
    for chosen in SAMPLE.values():
        assert len({p.id for p in chosen}) == len(chosen)


def test_unknown_split_names_the_choices():
    with pytest.raises(ValueError, match="train, calibration, test"):
        problems.load("validation")


def test_same_every_time():
    afresh = Splits(problems.SPLITS, problems.make)
    again = {split: afresh.load(split, 3_000) for split in problems.SPLITS}
    assert again == SAMPLE


def test_held_out_questions_are_nowhere_else():
    test, calibration = ({p.question for p in problems.load(s)} for s in ("test", "calibration"))
    assert len(test) == problems.SPLITS["test"]
    assert not test & calibration
    # The raw stream does hit some held-out questions; the training split leaves them out.
    raw = {problems.make("train", k).question for k in range(20_000)}
    kept = {p.question for p in problems.load("train", 20_000)}
    assert raw & (test | calibration)
    assert not kept & (test | calibration)


@pytest.mark.parametrize("split", problems.SPLITS)
def test_worked_solutions_are_right(split):
    for p in SAMPLE[split]:
        *steps, last = p.solution.split("\n")
        assert 1 <= len(steps) <= 4
        for line in steps:
            left, op, right, result = STEP.search(line).groups()
            assert problems.apply(int(left), op, int(right)) == int(result)
            assert op != "/" or int(left) % int(right) == 0
        assert last == f"#### {p.answer}" and result == p.answer
        assert 0 <= int(p.answer) <= problems.FULL.limit


def test_solutions_vary_in_length_and_wording():
    words = [len(p.solution.split()) for p in SAMPLE["test"]]
    assert max(words) >= 2.5 * min(words)
    wordy = sum(", so" in p.solution for p in SAMPLE["test"]) / len(words)
    assert 0.2 < wordy < 0.4


def test_slipped_solutions_are_often_wrong_and_always_complete():
    found = [(problems.make("train", k), problems.slipped("train", k)) for k in range(2_000)]
    answers = [s.rsplit("#### ", 1)[1] for _, s in found]
    wrong = sum(a != p.answer for a, (p, _) in zip(answers, found, strict=True)) / len(found)
    assert 0.5 < wrong < 0.95
    assert all(0 <= int(a) <= 99 for a in answers)
