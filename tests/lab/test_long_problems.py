"""The long lab's generator: right arithmetic, questions that ask for what is answered, splits that never change."""

import hashlib
import re
from functools import cache

import pytest

from warmexp.lab.long import problems
from warmexp.lab.long.plots import LOSSES

EQUATION = re.compile(r"(\d+) ([-+x/]) (\d+) = (\d+)")
SPOKEN = (
    (re.compile(r"Add (\d+) and (\d+) to get (\d+) for "), lambda a, b: a + b),
    (re.compile(r"Take (\d+) from (\d+) to get (\d+) for "), lambda a, b: b - a),
    (re.compile(r"Multiply (\d+) by (\d+) to get (\d+) for "), lambda a, b: a * b),
    (re.compile(r"Divide (\d+) by (\d+) to get (\d+) for "), lambda a, b: a / b),
)


@cache
def sample(split: str) -> list:
    return problems.load(split, 1_319)


def said(line: str) -> tuple[float, int]:
    """What a solution's line ought to say, computed here, and what it says."""
    if found := EQUATION.search(line):
        a, op, b, c = found.groups()
        a, b = int(a), int(b)
        return {"+": a + b, "-": a - b, "x": a * b, "/": a / b}[op], int(c)
    pattern, rule = next((p, r) for p, r in SPOKEN if p.match(line))
    a, b, c = map(int, pattern.match(line).groups())
    return rule(a, b), c


def answer(question: str) -> float:
    """Solve a question from its text alone: read each sentence, keep a ledger, answer what is asked."""
    *sentences, asked = re.split(r"(?<=[.?]) ", question)
    owned: dict[str, float] = {}  # per person; "" where the question is about one person or a group
    plan = money = share = None
    named = {s.split()[0] for s in sentences if re.match(r"[A-Z][a-z]+ has \d+ \w+ with", s)}
    rivals = len(named - {"He", "She"}) == 2
    comparing = any(re.search(r"times as many|(?:fewer|more) \w+ than", s) for s in sentences)
    for s in sentences:
        n = [int(v) for v in re.findall(r"\d+", s)]
        who = s.split()[0] if rivals or comparing else ""
        if re.search(r"years old|miles away|degrees outside|bus comes|cousins", s):
            continue
        if found := re.search(r"has (\d+) times as many \w+ as (\w+)\.", s):
            owned[who] = owned[found[2]] * n[0]
        elif found := re.search(r"has (\d+) (fewer|more) \w+ than (\w+)\.", s):
            owned[who] = owned[found[3]] + (n[0] if found[2] == "more" else -n[0])
        elif s.startswith("Together they"):
            owned["group"] = owned.get("group", 0) + (n[0] if "find" in s else -n[0])
        elif re.search(r"had \d+ dollars at first", s):
            money = n[0]
        elif s.startswith("The plan was"):
            plan = n[0]
        elif "shares all" in s:
            share = n[0]
        elif len(n) >= 2:  # groups of so many each; a purchase names several
            products = sum(a * b for a, b in zip(n[::2], n[1::2], strict=True))
            owned[who] = owned.get(who, 0) + (-products if "to each of" in s else products)
        else:
            loses = any(f" {verb} " in s for verb in LOSSES) or re.search(r"coupon|falls by|do not count", s)
            owned[who] = owned.get(who, 0) + (-n[0] if loses else n[0])
    if found := re.search(r"How many more \w+ does (\w+) have than (\w+)\?", asked):
        return owned[found[1]] - owned[found[2]]
    total = sum(owned.values())
    if "missing" in asked:
        return plan - total
    if "left?" in asked:
        return money - total
    return total / share if share else total


def test_sizes_and_ids():
    assert [len(problems.load(s)) for s in ("test", "calibration")] == [1_319, 512]
    assert problems.load("test", 5) == problems.load("test")[:5]
    for chosen in map(sample, problems.SPLITS):
        assert len({p.id for p in chosen}) == len(chosen)
    with pytest.raises(ValueError, match="train, calibration, test"):
        problems.load("validation")


def test_the_splits_never_change():
    """Weights, records and published numbers belong to these texts."""
    text = "\n".join(f"{p.id}\n{p.question}\n{p.solution}" for s in ("test", "calibration") for p in problems.load(s))
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "00dfefbdd8f70a0db33559b367693e1ce34addb809a7923d2701accff8d74e42"
    )


def test_held_out_questions_are_nowhere_else():
    test, calibration = ({p.question for p in problems.load(s)} for s in ("test", "calibration"))
    assert len(test) == 1_319 and len(calibration) == 512 and not test & calibration
    for level in problems.LEVELS.values():
        kept = {p.question for _, (_, p) in zip(range(4_000), problems.stream(0, level=level), strict=False)}
        assert not kept & (test | calibration)


@pytest.mark.parametrize("level", problems.LEVELS)
def test_every_line_is_right_and_the_answer_is_the_questions(level):
    z = problems.LEVELS[level]
    for k in range(1_500):
        p = problems.make("train", k, level=z)
        _, *steps, closing, last = p.solution.split("\n")
        assert z.steps[0] <= len(steps) <= z.steps[1]
        for line in steps:
            right, stated = said(line)
            assert right == stated and 1 <= stated <= z.limit, (p.question, line)
            if found := EQUATION.search(line):
                rest = line[found.end() :]
                assert not line.startswith("Since") or [int(v) for v in re.findall(r"\d+", rest)] == [stated]
        assert stated == int(p.answer) and last == f"#### {p.answer}" and closing.endswith(f" {p.answer}.")
        assert answer(p.question) == int(p.answer), p.question


def test_every_step_is_needed_and_none_comes_before_what_it_uses():
    reordered = 0
    for k in range(1_000):
        tale, r = problems.draw("train", k)
        used, todo = set(), {len(tale.steps) - 1}
        while todo:
            used |= todo
            todo = set().union(*(problems.needs(tale.steps[s]) for s in todo)) - used
        assert used == set(range(len(tale.steps)))
        order = problems.any_order(tale.steps, r)
        assert sorted(order) == list(range(len(tale.steps))) and order[-1] == len(tale.steps) - 1
        assert all(order.index(n) < order.index(s) for s in order for n in problems.needs(tale.steps[s]))
        reordered += order != sorted(order)
        assert problems.write(tale, problems.PLAIN, order)[1] == problems.write(tale, problems.PLAIN)[1]
    assert reordered > 300


def test_questions_vary():
    chosen = sample("test")
    steps = [p.solution.count("\n") - 2 for p in chosen]
    assert set(steps) == {2, 3, 4, 5, 6, 7, 8} and min(steps.count(n) for n in set(steps)) > 60
    wordings = [p.solution.split()[0] for p in chosen]
    assert [0.5 < wordings.count("We") / len(chosen) < 0.6, 0.3 < wordings.count("Let") / len(chosen) < 0.4] == [
        True,
        True,
    ]
    assert 0.07 < wordings.count("This") / len(chosen) < 0.13
    distracted = sum(bool(re.search(r"years old|miles away|degrees|bus comes|cousins", p.question)) for p in chosen)
    assert 0.3 < distracted / len(chosen) < 0.6


def test_one_wording_per_answer():
    starts = {
        "We": lambda s: "=" in s and not s.startswith("Since"),
        "Let": lambda s: s.startswith("Since"),
        "This": lambda s: " to get " in s,
    }
    for p in sample("calibration"):
        opening, *steps, _, _ = p.solution.split("\n")
        assert all(starts[opening.split()[0]](s) for s in steps)


def test_slipped_solutions_are_often_wrong_and_always_complete():
    found = [(problems.make("train", k), problems.slipped("train", k)) for k in range(1_000)]
    answers = [s.rsplit("#### ", 1)[1] for _, s in found]
    wrong = sum(a != p.answer for a, (p, _) in zip(answers, found, strict=True)) / len(found)
    assert 0.5 < wrong < 0.95
    assert all(0 <= int(a) <= 99 for a in answers)
