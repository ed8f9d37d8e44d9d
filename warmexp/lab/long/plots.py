"""The plots of the long lab: what happens in a question, and the steps that answer it.

A plot fills a `Tale` with sentences and steps. It is told how many steps there should be and keeps every result between
1 and the level's limit; where the numbers leave no room it stops earlier.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from warmexp.lab.problems import GOODS, HOLDERS, ITEMS, PEOPLE
from warmexp.lab.splits import apply

GAINS = ("buys", "finds", "gets", "wins")
LOSSES = ("gives away", "loses", "sells", "breaks")
# verb, what, per, unit of the stretch
WORK = (
    ("reads", "pages", "day", "days"),
    ("writes", "letters", "day", "days"),
    ("drives", "miles", "hour", "hours"),
    ("earns", "dollars", "hour", "hours"),
    ("plants", "trees", "week", "weeks"),
    ("bakes", "cakes", "day", "days"),
    ("paints", "walls", "week", "weeks"),
)
DISTRACTORS = (
    "{name} is {n} years old.",
    "{name} lives {n} miles away.",
    "It is {n} degrees outside.",
    "The bus comes in {n} minutes.",
    "{name} has {n} cousins.",
)


@dataclass(frozen=True)
class Level:
    """How long the problems are and how large their numbers."""

    steps: tuple[int, int]
    limit: int  # the largest number of all
    change: tuple[int, int]  # what is gained or lost at once
    times: tuple[int, int]  # how many groups, days, friends
    each: tuple[int, int]  # how many in a group
    distractors: float  # share of questions that state a number which nothing needs
    plots: tuple[str, ...] = ("holdings", "holdings", "shopping", "compare", "work", "rivals")  # drawn from, each alike


@dataclass(frozen=True)
class Step:
    """`left op right`; an operand is a number or, written as -k, the result of step k (counted from 1).

    `clause` is a sentence without its full stop, `{}` where the number goes; `label` names the number.
    """

    left: int
    op: str
    right: int
    clause: str
    label: str


@dataclass(frozen=True)
class Number:
    """What a step may use: a stated number, or the result of a step (`ref` is -k)."""

    ref: int
    value: int


@dataclass
class Tale:
    """A question while it is being told; at the end `question` and `goal` are set."""

    r: random.Random
    level: Level
    wanted: int  # number of steps
    plot: str  # of PLOTS
    texts: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    ask: str = ""
    goal: str = ""  # the question as a clause: "how many apples Tom has now"
    question: str = ""

    def left(self) -> int:
        return self.wanted - len(self.steps)

    def step(self, left: Number | int, op: str, right: Number | int, clause: str, label: str) -> Number:
        a, b = (v if isinstance(v, Number) else Number(v, v) for v in (left, right))
        self.steps.append(Step(a.ref, op, b.ref, clause, label))
        return Number(-len(self.steps), apply(a.value, op, b.value))

    def groups(self, cap: int) -> tuple[int, int]:
        """How many groups of how many; their product is at most `cap` (at least 4)."""
        low, high = self.level.times
        n = self.r.randint(low, max(low, min(high, cap // 2)))
        least, most = self.level.each
        return n, self.r.randint(least, max(least, min(most, cap // n)))

    def change(self, total: int) -> tuple[str, int]:
        """A sign and an amount that keep `total` between 1 and the limit."""
        n = self.r.randint(*self.level.change)
        minus = total - n >= 1 and (total + n > self.level.limit or self.r.random() < 0.5)
        return ("-", n) if minus else ("+", min(n, self.level.limit - total))


def _holdings(t: Tale) -> str:
    """Someone has containers of things; some come, some go; perhaps they are shared in the end."""
    r, (name, pronoun), items = t.r, t.r.choice(PEOPLE), t.r.choice(ITEMS)
    holders = r.sample(HOLDERS, len(HOLDERS))
    has = f"{name} has {{}} {items}"
    count = min(r.randint(1, 3), (t.wanted + 1) // 2)
    parts = []
    for k in range(count):
        n, each = t.groups(t.level.limit // (count + 1))
        verb = r.choice(("has", "fills")) if k == 0 else "has"
        t.texts.append(f"{name if k == 0 else pronoun} {verb} {n} {holders[k]} with {each} {items} each.")
        parts.append(t.step(n, "x", each, f"the {holders[k]} hold {{}} {items}", f"the {holders[k]}"))
    total = parts[0]
    for other in parts[1:]:
        total = t.step(total, "+", other, has, f"{items} in all")
    while t.left() > 0:
        kind = r.random()
        friends, gift = t.groups(max(4, min(total.value - 1, 24)))
        if t.left() >= 2 and kind < 0.2 and friends * gift < total.value:
            t.texts.append(f"{pronoun} gives {gift} {items} to each of {friends} friends.")
            given = t.step(friends, "x", gift, f"the friends get {{}} {items}", "the friends")
            total = t.step(total, "-", given, has, f"{items} that are left")
            continue
        if t.left() >= 2 and kind < 0.35 and total.value + friends * gift <= t.level.limit:
            t.texts.append(f"{pronoun} buys {friends} sets of {gift} {items}.")
            bought = t.step(friends, "x", gift, f"the sets bring {{}} {items}", "the sets")
            total = t.step(total, "+", bought, has, f"{items} with the sets")
            continue
        fits = [
            n for n in range(t.level.times[0], t.level.times[1] + 1) if total.value % n == 0 and total.value // n > 1
        ]
        if t.left() == 1 and fits and r.random() < 0.4:
            n = r.choice(fits)
            t.texts.append(f"{pronoun} shares all {items} equally among {n} children.")
            t.step(total, "/", n, f"each child gets {{}} {items}", "each child")
            t.goal = f"how many {items} each child gets"
            return f"How many {items} does each child get?"
        sign, n = t.change(total.value)
        verb = r.choice(LOSSES if sign == "-" else GAINS)
        t.texts.append(f"{r.choice((pronoun, 'Then ' + name))} {verb} {n} {items if sign == '-' else 'more ' + items}.")
        total = t.step(total, sign, n, has, f"{items} after that")
    t.goal = f"how many {items} {name} has now"
    return r.choice((f"How many {items} does {name} have now?", f"How many {items} does {name} have in the end?"))


def _shopping(t: Tale) -> str:
    """Several goods at a price each, costs and coupons, and perhaps the change."""
    r, (name, pronoun), goods = t.r, t.r.choice(PEOPLE), t.r.sample(ITEMS, 3)
    count = min(r.randint(1, 3), (t.wanted + 1) // 2)
    parts, said = [], []
    for items in goods[:count]:
        n, price = t.groups(t.level.limit // (count + 1))
        said.append(f"{n} {items} for {price} dollars each")
        parts.append(t.step(n, "x", price, f"the {items} cost {{}} dollars", f"the {items}"))
    t.texts.append(f"{name} buys {' and '.join(said)}.")
    total = parts[0]
    for other in parts[1:]:
        total = t.step(total, "+", other, "together this costs {} dollars", "the cost together")
    pays = total.value + 2 < t.level.limit and r.random() < 0.6
    while t.left() > pays:
        sign, n = t.change(total.value)
        if sign == "-":
            t.texts.append(r.choice((f"A coupon takes {n} dollars off.", f"The price falls by {n} dollars.")))
            total = t.step(total, "-", n, "the price falls to {} dollars", "the lower price")
        else:
            good = r.choice(GOODS)
            t.texts.append(
                r.choice((f"{pronoun} also buys a {good} for {n} dollars.", f"A {good} costs {n} dollars more."))
            )
            total = t.step(total, "+", n, f"with the {good} it is {{}} dollars", f"the price with the {good}")
    if not t.left() or total.value >= t.level.limit:
        t.goal = f"how many dollars {name} pays"
        return f"How many dollars does {name} pay?"
    money = r.randint(total.value + 1, t.level.limit)
    t.texts.append(f"{pronoun} had {money} dollars at first.")
    t.step(money, "-", total, f"{name} has {{}} dollars left", "the money left")
    t.goal = f"how many dollars {name} has left"
    return f"How many dollars does {name} have left?"


def _compare(t: Tale) -> str:
    """One person has some things, the next more, fewer or a multiple; how many together."""
    r, items = t.r, t.r.choice(ITEMS)
    count = min(4, 1 + t.wanted // 2)
    people = [name for name, _ in r.sample(PEOPLE, count)]
    first = r.randint(2, max(3, t.level.limit // (3 * count)))
    t.texts.append(f"{people[0]} has {first} {items}.")
    owned = [Number(first, first)]
    cap = t.level.limit // count
    for k, who in enumerate(people[1:], 1):
        base = r.randrange(k)
        value, than = owned[base].value, people[base]
        clause, label = f"{who} has {{}} {items}", f"{items} of {who}"
        kind = r.random()
        if kind < 0.4 and value * 2 <= cap + 4:
            n = r.randint(2, max(2, min(t.level.times[1], cap // value)))
            t.texts.append(f"{who} has {n} times as many {items} as {than}.")
            owned.append(t.step(n, "x", owned[base], clause, label))
        elif kind < 0.7 and value > 3:
            n = r.randint(1, min(value - 1, t.level.change[1]))
            t.texts.append(f"{who} has {n} fewer {items} than {than}.")
            owned.append(t.step(owned[base], "-", n, clause, label))
        else:
            n = r.randint(*t.level.change)
            t.texts.append(f"{who} has {n} more {items} than {than}.")
            owned.append(t.step(owned[base], "+", n, clause, label))
    total = owned[0]
    for k, other in enumerate(owned[1:], 1):
        if total.value + other.value > t.level.limit:
            return ""
        last = k == count - 1
        clause = f"all of them have {{}} {items}" if last and count > 2 else f"they have {{}} {items} together"
        total = t.step(total, "+", other, clause, f"{items} in all")
    while t.left() > 0:
        sign, n = t.change(total.value)
        verb = "lose" if sign == "-" else "find"
        t.texts.append(f"Together they {verb} {n} {items if sign == '-' else 'more ' + items}.")
        total = t.step(total, sign, n, f"then they have {{}} {items}", f"{items} after that")
    t.goal = f"how many {items} they have in all"
    return r.choice((f"How many {items} do they have in all?", f"How many {items} do they have together in the end?"))


def _work(t: Tale) -> str:
    """So much per day for some days, then another rate; more or less; perhaps what is missing for a goal, per day."""
    r, (name, _), (verb, what, per, stretch) = t.r, t.r.choice(PEOPLE), t.r.choice(WORK)
    count = min(r.randint(1, 3), (t.wanted + 1) // 2)
    when = ("first", "second", "third")
    parts = []
    for k in range(count):
        n, rate = t.groups(t.level.limit // (count + 1))
        text = f"{name} {verb} {rate} {what} each {per} for {n} {stretch}." if k == 0 else None
        t.texts.append(text or f"Then it is {rate} {what} each {per} for {n} {stretch}.")
        which = f"the {when[k]} {stretch}"
        parts.append(t.step(rate, "x", n, f"{which} give {{}} {what}", which))
    total = parts[0]
    for other in parts[1:]:
        total = t.step(total, "+", other, f"so far it is {{}} {what}", f"{what} so far")
    ends = total.value + 2 < t.level.limit and r.random() < 0.5
    while t.left() > ends:
        sign, n = t.change(total.value)
        if sign == "+":
            t.texts.append(f"On the last {per} {name} {verb} {n} more {what}.")
            total = t.step(total, "+", n, f"with the last {per} it is {{}} {what}", f"{what} with the last {per}")
        else:
            t.texts.append(f"But {n} {what} do not count.")
            total = t.step(total, "-", n, f"only {{}} {what} count", f"{what} that count")
    if not t.left() or total.value + 1 > t.level.limit:
        t.goal = f"how many {what} that is in all"
        return f"How many {what} is that in all?"
    goal = r.randint(total.value + 1, min(t.level.limit, total.value + 40))
    t.texts.append(f"The plan was {goal} {what}.")
    t.step(goal, "-", total, f"{{}} {what} are missing", f"the missing {what}")
    t.goal = f"how many {what} are missing"
    return f"How many {what} are missing?"


def _rivals(t: Tale) -> str:
    """Two people, each with containers of the same things and changes of their own; how many together, or how many
    more."""
    r, items, holder = t.r, t.r.choice(ITEMS), t.r.choice(HOLDERS)
    (one, _), (two, _) = r.sample(PEOPLE, 2)
    owned = []
    for who in (one, two):
        n, each = t.groups(t.level.limit // 3)
        t.texts.append(f"{who} has {n} {holder} with {each} {items} each.")
        owned.append(t.step(n, "x", each, f"{who} has {{}} {items}", f"{items} of {who}"))
    while t.left() > 1:
        k = 0 if owned[0].value > owned[1].value else 1
        k = k if r.random() < 0.5 else r.randrange(2)
        who = (one, two)[k]
        sign, n = t.change(owned[k].value)
        if owned[0].value + owned[1].value + n > t.level.limit:
            sign, n = "-", min(n, owned[k].value - 1)
        if n < 1:
            return ""
        verb = r.choice(LOSSES if sign == "-" else GAINS)
        t.texts.append(f"{who} {verb} {n} {items if sign == '-' else 'more ' + items}.")
        owned[k] = t.step(owned[k], sign, n, f"{who} then has {{}} {items}", f"{items} of {who} after that")
    big, small = (0, 1) if owned[0].value > owned[1].value else (1, 0)
    if owned[big].value > owned[small].value and r.random() < 0.4:
        more, less = (one, two)[big], (one, two)[small]
        t.step(owned[big], "-", owned[small], f"{more} has {{}} {items} more", "the difference")
        t.goal = f"how many more {items} {more} has"
        return f"How many more {items} does {more} have than {less}?"
    t.step(owned[0], "+", owned[1], f"they have {{}} {items} together", f"{items} in all")
    t.goal = f"how many {items} they have in all"
    return r.choice((f"How many {items} do they have together?", f"How many {items} do they have in all?"))


PLOTS: dict[str, Callable[[Tale], str]] = {
    "holdings": _holdings,
    "shopping": _shopping,
    "compare": _compare,
    "work": _work,
    "rivals": _rivals,
}


def tell(r: random.Random, level: Level) -> Tale:
    """A question and its steps. A plot that finds no room for its numbers asks nothing, and another is drawn."""
    while True:
        t = Tale(r, level, wanted=r.randint(*level.steps), plot=r.choice(level.plots))
        t.ask = PLOTS[t.plot](t)
        values = _values(t.steps)
        if t.ask and level.steps[0] <= len(t.steps) <= level.steps[1] and all(1 <= v <= level.limit for v in values):
            break
    texts = list(t.texts)
    name = r.choice(PEOPLE)[0]
    for _ in range((r.random() < level.distractors) + (r.random() < level.distractors / 4)):
        texts.insert(r.randint(1, len(texts)), r.choice(DISTRACTORS).format(name=name, n=r.randint(*level.each)))
    t.question = " ".join([*texts, t.ask])
    return t


def _values(steps: list[Step]) -> list[int]:
    values: list[int] = []
    for s in steps:
        left, right = (v if v >= 0 else values[-v - 1] for v in (s.left, s.right))
        values.append(apply(left, s.op, right))
    return values
