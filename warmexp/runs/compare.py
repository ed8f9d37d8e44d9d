"""What tells two runs from each other: settings, results, and the questions that one of them answered right."""

from __future__ import annotations

from collections.abc import Iterator

from warmexp.errors import UserError
from warmexp.runs.catalogue import Run
from warmexp.runs.stored import read_records

_NAMED = 12  # questions that are named


def differences(first: Run, second: Run) -> Iterator[str]:
    """Lines for a person."""
    for title, one, other in (
        ("settings", first.settings, second.settings),
        ("results", first.summary, second.summary),
    ):
        keys = [key for key in dict.fromkeys([*one, *other]) if one.get(key) != other.get(key)]
        yield f"{title}: {'the same' if not keys else ''}".rstrip()
        width = max((len(key) for key in keys), default=0)
        for key in keys:
            yield f"  {key:<{width}}  {_shown(one.get(key))}  →  {_shown(other.get(key))}"
    yield from _answers(first, second)


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    return "–" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _answers(first: Run, second: Run) -> Iterator[str]:
    try:
        one, other = ({record["id"]: record for record in read_records(run.folder)} for run in (first, second))
    except UserError as error:
        yield f"answers: {error}"
        return
    both = [name for name in one if name in other and one[name].get("target") == other[name].get("target")]
    if not both:
        yield "answers: no question in common"
        return
    right = {
        name: tuple(bool(records[name].get("correct", {}).get("flexible")) for records in (one, other)) for name in both
    }
    for title, wanted in (("only A right", (True, False)), ("only B right", (False, True))):
        names = [name for name, pair in right.items() if pair == wanted]
        more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield f"{title}: {len(names)} of {len(both)} questions" + (
            f": {', '.join(names[:_NAMED])}{more}" if names else ""
        )
    same = sum(one[name].get("ids") == other[name].get("ids") for name in both)
    yield f"the very same answer, token by token: {same} of {len(both)}"
