"""Conditions on runs, as words: `init=token_inject 'rho>=0.3' status=failed`."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from warmexp.config.keys import GREEK
from warmexp.errors import UserError, closest
from warmexp.runs.catalogue import STATUSES, Run

_WORD = re.compile(r"([^\s=!<>~]+)\s*(>=|<=|!=|=|<|>|~)\s*(.*)", re.DOTALL)
_FIELDS = {"lambda": ("lam", "lambda")}  # what a strategy calls a shared key
# Short names of what a run came to.
RESULTS = {
    "nfe": "nfe_mean",
    "accuracy": "accuracy_flexible",
    "flexible": "accuracy_flexible",
    "strict": "accuracy_strict",
    "seconds": "seconds_total",
}
OWN = ("name", "status", "study", "reason", "records", "questions", "changed")


def value_of(run: Run, key: str) -> list[Any]:
    """The values that a key has in a run: none where it has none, several where several parts have a key of the name.

    key: a word of OWN or RESULTS, a field of summary.json, a group, a dotted key, or the last part of one (`rho` is
    what the chosen init has as rho, whether it was given or not).
    """
    key = GREEK.get(key, key)
    if key in OWN:
        found = {"study": list(run.studies), "changed": [run.changed]}.get(key)
        return found if found is not None else [getattr(run, key)]
    if key in RESULTS or key in run.summary:
        found = run.summary.get(RESULTS.get(key, key))
        return [] if found is None else [found]
    last = _FIELDS.get(key, (key,))
    parts = [
        value
        for name, value in run.settings.items()
        if "." in name and name.rpartition(".")[2] in last and _used(run, name)
    ]
    if parts and "." not in key:
        return parts
    value = run.settings.get(key)
    return [] if value is None else [value]


def _used(run: Run, name: str) -> bool:
    """A proposer that no init reads is in the configuration all the same."""
    return not (name.startswith("proposer.") and run.settings.get("proposer") == "none")


def condition(word: str, runs: Sequence[Run]) -> Callable[[Run], bool]:
    """Whether a run is meant by a word KEY=VALUE, with = (several values: a,b; a pattern: token_*), !=, <, <=, >, >= or
    ~ (contains).

    Raises:
        UserError: it is no condition, no run has the key, or it compares what is no number.
    """
    found = _WORD.fullmatch(word.strip())
    if not found:
        raise UserError(
            f"{word} is no condition: write KEY=VALUE, KEY!=VALUE, KEY>=NUMBER or KEY~TEXT, in quotes for < and >."
        )
    key, sign, wanted = found[1], found[2], found[3].strip()
    if key == "status" and sign in ("=", "!="):
        for status in wanted.split(","):
            if status not in STATUSES:
                raise UserError(f"status={status} is not one of {', '.join(STATUSES)}{closest(status, STATUSES)}.")
    elif runs and not any(value_of(run, key) for run in runs):
        known = {
            part for run in runs for name in (*run.settings, *run.summary) for part in (name, name.rpartition(".")[2])
        }
        raise UserError(f"{word}: no run has the key {key}{closest(key, [*known, *RESULTS, *OWN])}.")
    if sign in ("=", "!="):
        return lambda run: any(_equal(value, wanted) for value in value_of(run, key)) is (sign == "=")
    if sign == "~":
        return lambda run: any(wanted.lower() in str(value).lower() for value in value_of(run, key))
    limit = _date(wanted) if key == "changed" else _number(wanted)
    if limit is None:
        raise UserError(
            f"{word}: {wanted} is not a number{' or a date such as 2026-01-31' if key == 'changed' else ''}."
        )
    compare = {"<": float.__lt__, "<=": float.__le__, ">": float.__gt__, ">=": float.__ge__}[sign]
    return lambda run: any(number is not None and compare(number, limit) for number in map(_number, value_of(run, key)))


def chosen(runs: Sequence[Run], words: Sequence[str]) -> list[Run]:
    """Those that all conditions mean."""
    conditions = [condition(word, runs) for word in words]
    return [run for run in runs if all(meant(run) for meant in conditions)]


def _equal(value: Any, wanted: str) -> bool:
    for one in wanted.split(",") if wanted else [""]:
        number, other = _number(value), _number(one)
        if number is not None and other is not None:
            if math.isclose(number, other, rel_tol=1e-9, abs_tol=1e-12):
                return True
        elif fnmatch.fnmatchcase(_text(value), one):
            return True
    return False


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _date(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return _number(text)
