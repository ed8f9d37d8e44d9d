"""What a reader has to know to judge a front's numbers, as lines that a paper's appendix can print. docs/numbers.md
explains each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from warmexp.analysis.paired import fewest_questions
from warmexp.analysis.result import Asked, Group, Result


@dataclass(frozen=True)
class Item:
    """item: what is asked. said: the answer, one or two sentences."""

    item: str
    said: str


def checklist(runs: Sequence[Result], groups: Sequence[Group], asked: Asked) -> tuple[Item, ...]:
    """One list for the whole front; where there are several groups, every line names the group."""
    found = [Item("Plan", _plan(asked.plan))]
    for number, group in enumerate(groups):
        mine = [run for run in runs if run.group == number]
        where = f", group {number + 1}" if len(groups) > 1 else ""
        found += [Item(item + where, said) for item, said in _of_group(group, mine, asked)]
    return tuple(found)


def _of_group(group: Group, runs: list[Result], asked: Asked) -> list[tuple[str, str]]:
    compared = max((run.paired.compared or 0 for run in runs if run.paired), default=0)
    fewest, points = fewest_questions(asked.margin), 100 * asked.margin
    far = sum(bool(run.saved and run.saved.far) for run in runs)
    oracles, alone = (sum(getattr(run.point, kind) for run in runs) for kind in ("oracle", "autoregressive"))
    return [
        ("Split", f"{group.split}."),
        ("Questions", f"{group.n} of {group.task}, backbone {group.backbone}."),
        ("Seeds", _seeds(runs)),
        (
            "Baseline",
            f"{asked.selector}: {_count(len(group.baseline_candidates), 'run')}; chosen: {group.baseline_choice}; hull"
            f" {', '.join(f'({x:.2f}, {100 * y:.1f} %)' for x, y in group.baseline_front) or '–'}.",
        ),
        ("Long chords", f"{_count(far, 'saving')} measured on a chord between settings far apart." if far else "None."),
        (
            "How many were compared",
            f"{_count(compared, 'run')} with the baseline; p also by Holm, intervals of differences hold together"
            " with 95 %.",
        ),
        (
            "Margin",
            f"{points:g} % of the questions; fewer than {fewest} questions cannot show it"
            + (", and these are fewer." if group.n < fewest else "."),
        ),
        ("Seconds", _circumstances(runs)),
        ("Oracle rows", f"{_count(oracles, 'run')} saw the answers; on no front." if oracles else "None."),
        (
            "Autoregressive rows",
            f"{_count(alone, 'run')} without a forward of the backbone; on no front." if alone else "None.",
        ),
    ]


def _plan(plan: dict[str, Any] | None) -> str:
    if plan is None:
        return "None was written before the first record."
    first, wanted = plan["sha256"][:12], plan["plan"]
    when = "before the first record" if plan.get("before_first_record") else "when there were records already"
    changes = f"; changed {_count(len(plan['changes']), 'time')} since" if plan["changes"] else ""
    return (
        f"{first}, written {plan.get('written')} {when}{changes}: {wanted.get('primary_endpoint')};"
        f" {wanted.get('stopping')}."
    )


def _seeds(runs: list[Result]) -> str:
    several = sorted({len(run.point.seeds) for run in runs if run.point.seeds})
    if not several:
        return (
            "One each. Draws of different questions are independent, so intervals over questions cover the luck of a"
            " seed."
        )
    return f"{' or '.join(map(str, several))} where a label says so, resampled with the questions; one each elsewhere."


def _circumstances(runs: list[Result]) -> str:
    told = [dict(run.point.circumstances) for run in runs]
    names = sorted({name for one in told for name in one})
    values = {name: sorted({one.get(name, "not known") for one in told}) for name in names}
    return (
        "; ".join(f"{name} {' or '.join(some)}" for name, some in values.items()) or "circumstances not known"
    ) + "."


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
