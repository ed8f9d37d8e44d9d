"""The baseline: which runs it is.

A warm start beats one baseline run easily, by trading accuracy for forwards as a lower threshold would. So it is
compared with what the baseline reaches by its own settings, that is with the hull of its runs (saving.py).
"""

from __future__ import annotations

from warmexp.analysis.points import Point
from warmexp.errors import UserError, closest

DEFAULT = "init=mask remask=none"
_ALIASES = {"ρ": "rho", "λ": "lam", "τ": "tau", "lambda": "lam"}


def select(points: list[Point], selector: str) -> list[Point]:
    """The runs that a selector names, oracle and autoregressive runs never among them.

    Args:
        selector: words `key=value`, all of which must hold. A key is a config group (`init=mask`), a dotted key of the
            config (`unmask.tau=0.9`) or the last part of one (`tau=0.9`); numbers are compared as numbers. Several
            values, `tau=0.7,0.9`, are alternatives, and so are several selectors with ` | ` between them. What is not
            named may be anything: `init=mask` takes every τ, block length, length policy and unmasking policy.
    Raises:
        UserError: for a word without `=`, or a key that no run has.
    """
    ways = [[_word(word, points) for word in way.split()] for way in selector.split("|")]
    return [p for p in points if p.ranked and any(_all_hold(dict(p.settings), words) for words in ways)]


def _all_hold(settings: dict, words: list[tuple[str, str]]) -> bool:
    return all(any(_holds(settings, key, value) for value in values.split(",")) for key, values in words)


def _word(word: str, points: list[Point]) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals:
        raise UserError(f"baseline: '{word}' is not key=value, as in 'init=mask remask=none'.")
    key = _ALIASES.get(key, key)
    known = {name for p in points for full, _ in p.settings for name in (full, full.rpartition(".")[2])}
    if points and key not in known:
        raise UserError(f"baseline: no run has a key {key}{closest(key, known) or '.'}")
    return key, value


def _holds(settings: dict, key: str, value: str) -> bool:
    if f"choices.{key}" in settings:
        return _equal(settings[f"choices.{key}"], value)
    return any(_equal(held, value) for name, held in settings.items() if name == key or name.endswith(f".{key}"))


def _equal(held: object, asked: str) -> bool:
    if (
        str(held) == asked
        or (held is None and asked in ("null", "none"))
        or (isinstance(held, bool) and str(held).lower() == asked)
    ):
        return True
    try:
        return float(held) == float(asked)
    except (TypeError, ValueError):
        return False
