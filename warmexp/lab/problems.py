"""GSM8K-shaped word problems: a question, a worked solution of one to three steps, a line `#### answer`.

A problem is a pure function of (split, index). Its solution comes in one of two wordings of different length, so that a
proposal may say the right thing in other words and sit at other positions, as real proposals do. The numbers are small
on purpose: the lab's backbone has two million weights and must be right often enough for warm starts to have something
to lose.

This module knows nothing about tokens or models.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from warmexp.lab.splits import Problem, Slip, Splits, apply, slips

# The salts keep the three streams apart; the sizes are what `load` returns. 1,319 is the size of GSM8K's test split.
SPLITS = {"train": 400_000, "calibration": 512, "test": 1_319}

PLAIN, WORDY = 0, 1
# Of the backbone's training texts 30 % are in the wordy form; the proposers are trained on a mix of their own (see the
# recipe).
WORDY_SHARE = 0.3


@dataclass(frozen=True)
class Sizes:
    """How large the numbers are."""

    operand: tuple[int, int]  # a number that a question states
    limit: int  # the largest intermediate or final result
    times: tuple[int, int]  # how many groups, or how many times as many


SMALL = Sizes(operand=(2, 9), limit=30, times=(2, 5))  # the first training steps only (see the recipe)
FULL = Sizes(operand=(2, 15), limit=60, times=(2, 6))  # everything else

PEOPLE = (
    ("Tom", "He"), ("Mia", "She"), ("Ben", "He"), ("Ana", "She"), ("Leo", "He"), ("Eva", "She"), ("Sam", "He"), ("Zoe", "She"),
    ("Max", "He"), ("Lily", "She"), ("Jack", "He"), ("Nora", "She"), ("Omar", "He"), ("Ruth", "She"), ("Paul", "He"), ("Iris", "She"),
)  # fmt: skip
ITEMS = (
    "apples", "books", "coins", "cards", "shells", "stamps", "pens", "eggs", "balls", "stickers", "cookies", "flowers", "toys",
    "marbles", "stones", "lemons",
)  # fmt: skip
HOLDERS = ("boxes", "bags", "baskets", "jars", "packs")
GAINS = ("buys", "finds", "gets", "wins")
LOSSES = ("gives away", "loses", "sells", "breaks")
PRODUCTS = ("pages", "letters", "puzzles", "songs", "drawings")
MAKES = {"pages": "reads", "letters": "writes", "puzzles": "solves", "songs": "learns", "drawings": "makes"}
GOODS = ("hat", "lamp", "kite", "scarf", "clock", "drum")


@dataclass(frozen=True)
class Step:
    """`left op right`; an operand is a number or, written as -k, the result of step k (counted from 1).

    `forms` holds the plain and the wordy sentence; `{eq}` stands for "5 + 3 = 8" and `{c}` for the result.
    """

    left: int
    op: str
    right: int
    forms: tuple[str, str]


def write(steps: list[Step], style: int, slip: Slip | None = None) -> tuple[str, str]:
    """Write the solution out.

    Args:
        slip: maps (left, op, right) to (left, op, right, result) and may make mistakes, which later steps then build
        on.
    Returns:
        the solution and its final answer.
    """
    results: list[int] = []
    lines = []
    for step in steps:
        left, right = (v if v >= 0 else results[-v - 1] for v in (step.left, step.right))
        op, result = step.op, apply(left, step.op, right)
        if slip is not None:
            left, op, right, result = slip(left, op, right)
        results.append(result)
        lines.append(step.forms[style].format(eq=f"{left} {op} {right} = {result}", c=result))
    return "\n".join([*lines, f"#### {results[-1]}"]), str(results[-1])


def _has(name: str, items: str, after: str = "Now") -> tuple[str, str]:
    return f"{name} has {{eq}} {items}.", f"{after} {{eq}}, so {name} has {{c}} {items}."


def _story(r: random.Random, z: Sizes) -> tuple[str, list[Step]]:
    """Someone has some things, gains some and loses some."""
    name, pronoun = r.choice(PEOPLE)
    items = r.choice(ITEMS)
    total = r.randint(2, z.limit // 2)
    text, steps = [f"{name} has {total} {items}."], []
    for k in range(r.choice((1, 2, 2, 3))):
        left = -k if k else total
        who = f"Then {name}" if k and r.random() < 0.5 else pronoun
        n = r.randint(*z.operand)
        if total - n >= 1 and (r.random() < 0.5 or total + n > z.limit):
            verb, op, more = r.choice(LOSSES), "-", ""
        else:
            n = min(n, z.limit - total)
            verb, op, more = r.choice(GAINS), "+", " more" if r.random() < 0.7 else ""
        text.append(f"{who} {verb} {n}{more} {items}.")
        steps.append(Step(left, op, n, _has(name, items)))
        total = apply(total, op, n)
    text.append(r.choice((f"How many {items} does {name} have now?", f"How many {items} does {name} have in the end?")))
    return " ".join(text), steps


def _groups(r: random.Random, z: Sizes) -> tuple[str, list[Step]]:
    """Some containers with the same number of things in each, then some come or go."""
    name, pronoun = r.choice(PEOPLE)
    items, holder = r.choice(ITEMS), r.choice(HOLDERS)
    n = r.randint(*z.times)
    each = r.randint(2, min(z.operand[1], z.limit // n))
    text = [
        r.choice(
            (
                f"{name} has {n} {holder} with {each} {items} in each.",
                f"{name} fills {n} {holder} with {each} {items} each.",
            )
        )
    ]
    steps = [Step(n, "x", each, _has(name, items, "First"))]
    total = n * each
    for k in range(r.choice((0, 1, 1, 2))):
        change = r.randint(*z.operand)
        if total - change >= 1 and (r.random() < 0.6 or total + change > z.limit):
            text.append(f"{pronoun} {r.choice(LOSSES)} {change} {items}.")
            op = "-"
        else:
            change = min(change, z.limit - total)
            if change < 1:
                break
            text.append(f"{pronoun} {r.choice(GAINS)} {change} more {items}.")
            op = "+"
        steps.append(Step(-1 - k, op, change, _has(name, items)))
        total = apply(total, op, change)
    text.append(f"How many {items} does {name} have{r.choice((' now', ' in all', ''))}?")
    return " ".join(text), steps


def _compare(r: random.Random, z: Sizes) -> tuple[str, list[Step]]:
    """Two people, one of whom has more, fewer or a multiple; how many together, or how many more after a gain."""
    (name, _), (other, pronoun) = r.sample(PEOPLE, 2)
    items = r.choice(ITEMS)
    a = r.randint(*z.operand)
    kind = r.choice(("more", "fewer", "times"))
    if kind == "times":
        n = r.randint(2, max(2, min(z.times[1], (z.limit - a) // a)))
        text, first = f"{other} has {n} times as many.", Step(n, "x", a, _has(other, items, "Here"))
    elif kind == "fewer" and a > 3:
        n = r.randint(2, a - 1)
        text, first = f"{other} has {n} fewer {items}.", Step(a, "-", n, _has(other, items, "Here"))
    else:
        n = r.randint(*z.operand)
        text, first = f"{other} has {n} more {items} than {name}.", Step(a, "+", n, _has(other, items, "Here"))
    b = apply(first.left, first.op, first.right)
    steps = [first]
    texts = [f"{name} has {a} {items}.", text]
    if r.random() < 0.35:
        n = r.randint(*z.operand)
        op = "-" if b - n >= 1 and (r.random() < 0.5 or b + n > z.limit - a) else "+"
        texts.append(f"{pronoun} {r.choice(LOSSES if op == '-' else GAINS)} {n} {items}.")
        steps.append(Step(-1, op, n, _has(other, items)))
        b = apply(b, op, n)
    if a + b <= z.limit and r.random() < 0.8:
        texts.append(r.choice(("How many do they have together?", f"How many {items} do they have in all?")))
        steps.append(
            Step(
                a,
                "+",
                -len(steps),
                (f"Together they have {{eq}} {items}.", f"Adding {{eq}}, so they have {{c}} {items}."),
            )
        )
    else:
        texts.append(f"How many {items} does {other} have?")
    return " ".join(texts), steps


def _shopping(r: random.Random, z: Sizes) -> tuple[str, list[Step]]:
    """Things at a price each, one more thing, and perhaps what is left of the money."""
    name, pronoun = r.choice(PEOPLE)
    items, good = r.choice(ITEMS), r.choice(GOODS)
    n = r.randint(*z.times)
    price = r.randint(2, min(z.operand[1], z.limit // n))
    cost = n * price
    texts = [f"{name} buys {n} {items} for {price} dollars each."]
    steps = [
        Step(n, "x", price, (f"The {items} cost {{eq}} dollars.", f"Paying {{eq}}, so the {items} cost {{c}} dollars."))
    ]
    if cost + 2 <= z.limit and r.random() < 0.6:
        extra = r.randint(2, min(z.operand[1], z.limit - cost))
        texts.append(f"{pronoun} also buys a {good} for {extra} dollars.")
        steps.append(Step(-1, "+", extra, ("In all it costs {eq} dollars.", "And {eq}, so it costs {c} dollars.")))
        cost += extra
    if cost + 1 <= z.limit and r.random() < 0.5:
        money = r.randint(cost + 1, z.limit)
        texts.insert(0, f"{name} has {money} dollars.")
        texts[1] = texts[1].replace(name, pronoun, 1)
        texts.append(f"How many dollars does {name} have left?")
        left = (f"{name} has {{eq}} dollars left.", f"Then {{eq}}, so {name} has {{c}} dollars left.")
        steps.append(Step(money, "-", -len(steps), left))
    else:
        texts.append(f"How many dollars does {name} pay?")
    return " ".join(texts), steps


def _sharing(r: random.Random, z: Sizes) -> tuple[str, list[Step]]:
    """An exact division, after a gain or before one."""
    name, pronoun = r.choice(PEOPLE)
    items = r.choice(ITEMS)
    n = r.randint(*z.times)
    each = r.randint(2, min(z.operand[1], z.limit // n))
    total = n * each
    texts, steps = [], []
    if total > 5 and r.random() < 0.6:
        gain = r.randint(2, min(z.operand[1], total - 2))
        texts.append(f"{name} has {total - gain} {items}. {pronoun} {r.choice(GAINS)} {gain} more.")
        steps.append(Step(total - gain, "+", gain, _has(name, items)))
    else:
        texts.append(f"{name} has {total} {items}.")
    texts.append(f"{pronoun} shares them equally among {n} friends.")
    left = -1 if steps else total
    each_form = (f"Each friend gets {{eq}} {items}.", f"Sharing {{eq}}, so each friend gets {{c}} {items}.")
    steps.append(Step(left, "/", n, each_form))
    if each + 2 <= z.limit and r.random() < 0.3:
        extra = r.randint(*z.operand)
        texts.append(f"One friend had {extra} {items} before. How many {items} does this friend have now?")
        friend = (f"The friend has {{eq}} {items}.", f"Now {{eq}}, so the friend has {{c}} {items}.")
        steps.append(Step(-len(steps), "+", extra, friend))
    else:
        texts.append(f"How many {items} does each friend get?")
    return " ".join(texts), steps


def _daily(r: random.Random, z: Sizes) -> tuple[str, list[Step]]:
    """So many each day for some days, some more at the end, and perhaps how many are missing."""
    name, _ = r.choice(PEOPLE)
    what = r.choice(PRODUCTS)
    verb = MAKES[what]
    days = r.randint(*z.times)
    rate = r.randint(2, min(z.operand[1], z.limit // days))
    done = days * rate
    texts = [f"{name} {verb} {rate} {what} each day for {days} days."]
    steps = [Step(rate, "x", days, (f"In {days} days it is {{eq}} {what}.", f"First {{eq}}, so it is {{c}} {what}."))]
    if done + 2 <= z.limit and r.random() < 0.5:
        extra = r.randint(2, min(z.operand[1], z.limit - done))
        texts.append(f"On the last day {name} {verb} {extra} more.")
        steps.append(
            Step(-1, "+", extra, (f"In all it is {{eq}} {what}.", f"Then {{eq}}, so in all it is {{c}} {what}."))
        )
        done += extra
    if done < z.limit and r.random() < 0.5:
        goal = r.randint(done + 1, z.limit)
        texts.append(f"The goal is {goal} {what}. How many {what} are missing?")
        steps.append(
            Step(
                goal,
                "-",
                -len(steps),
                (f"There are {{eq}} {what} missing.", f"Still {{eq}}, so {{c}} {what} are missing."),
            )
        )
    else:
        texts.append(f"How many {what} is that in all?")
    return " ".join(texts), steps


SCENARIOS = (_story, _story, _groups, _compare, _compare, _shopping, _sharing, _daily)


def draw(split: str, index: int, sizes: Sizes = FULL) -> tuple[str, list[Step], random.Random]:
    """Question, steps and the generator that goes on to choose the wording."""
    r = random.Random(f"warmexp-lab-2:{split}:{index}")
    question, steps = r.choice(SCENARIOS)(r, sizes)
    return question, steps, r


def make(split: str, index: int, wordy_share: float = WORDY_SHARE, sizes: Sizes = FULL) -> Problem:
    """The problem at (split, index)."""
    question, steps, r = draw(split, index, sizes)
    solution, answer = write(steps, WORDY if r.random() < wordy_share else PLAIN)
    return Problem(f"lab-{split}-{index:05d}", question, solution, answer)


def slipped(split: str, index: int, wordy_share: float = WORDY_SHARE, sizes: Sizes = FULL) -> str:
    """A solution of the same problem, in the same wording, with mistakes such as a weak proposer makes (for training
    states)."""
    question, steps, r = draw(split, index, sizes)
    style = WORDY if r.random() < wordy_share else PLAIN
    slip = slips(r, question, 0.25, 0.15, 0.3, (-3, -2, -1, 1, 2, 3))
    if len(steps) > 1 and r.random() < 0.1:
        steps = steps[:-1]  # stops too early, and everything after sits elsewhere
    if r.random() < 0.1:
        style = 1 - style
    return write(steps, style, slip)[0]


_LAB = Splits(SPLITS, make)
load = _LAB.load


def stream(start: int = 0, wordy_share: float = WORDY_SHARE, sizes: Sizes = FULL) -> Iterator[tuple[int, Problem]]:
    """(index, problem) of the training stream from `start` on, without the questions held out."""
    return _LAB.stream(start, wordy_share, sizes)
