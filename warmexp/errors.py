"""The one exception whose message is meant for the user: one sentence naming the key, the value and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake the user can repair. Shown as its message alone, never as a traceback."""


def closest(name: str, known: Iterable[str]) -> str:
    """', did you mean X?' for a near miss, otherwise ''."""
    match = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean '{match[0]}'?" if match else ""


def check_range(key: str, value: float, low: float, high: float, meaning: str, open_low: bool = False) -> None:
    """Refuse a number outside [low, high] (or (low, high])."""
    bad = isinstance(value, bool) or not isinstance(value, (int, float))
    inside = not bad and (low < value if open_low else low <= value) and value <= high  # NaN is never inside
    if not inside:
        bracket = "(" if open_low else "["
        raise UserError(f"{key}={value} is not in {bracket}{low:g}, {high:g}]: it is {meaning}.")


def check_choice(key: str, value: str, choices: Iterable[str]) -> None:
    """Refuse a word that is not one of the choices."""
    choices = list(choices)
    if value not in choices:
        raise UserError(f"{key}={value} is not one of {', '.join(choices)}{closest(str(value), choices)}")
