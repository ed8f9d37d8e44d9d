"""One mark per init in every picture, whatever stands beside it, with the names that Plotly and Matplotlib have for it.

A method of somebody else's gets a mark by its name, so that it keeps it from report to report; only where two of them
would share one in the same picture does the later take the next that is free.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from zlib import crc32

from warmexp.analysis.points import FIXED_LENGTH

MATPLOTLIB = {
    "circle": "o", "square": "s", "triangle-up": "^", "diamond": "D", "triangle-down": "v", "pentagon": "p",
    "cross": "P", "hexagon": "h", "x": "X", "triangle-left": "<", "triangle-right": ">", "octagon": "8",
}  # fmt: skip
_SHIPPED = {
    "mask": "circle", "token_inject": "square", "embed_interp": "triangle-up", "verified": "diamond",
    "trust_inject": "triangle-down", "context": "cross", "length_hint": "pentagon",
    "scaffold": "hexagon", "hints": "octagon",
}  # fmt: skip
_OTHERS = [shape for shape in MATPLOTLIB if shape not in _SHIPPED.values()]
# How a line goes on: one per unmasking policy.
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def shapes(methods: Iterable[str]) -> dict[str, str]:
    """init -> Plotly's name of its mark."""
    found: dict[str, str] = {}
    for name in sorted(set(methods)):
        found[name] = _SHIPPED.get(name) or _free(name, _OTHERS, found)
    return found


def markers(methods: Iterable[str]) -> dict[str, str]:
    """init -> Matplotlib's marker."""
    return {name: MATPLOTLIB[shape] for name, shape in shapes(methods).items()}


def dashes(policies: Iterable[str], default: str) -> dict[str, str]:
    """Unmasking policy -> Plotly's dash; solid for the default one."""
    found = {default: DASHES[0]}
    for name in sorted(set(policies) - {default}):
        found[name] = _free(name, DASHES[1:], found)
    return found


def ends_early(settings: dict[str, Any]) -> bool:
    """Whether a question may end before its canvas is full."""
    return settings.get("choices.length", FIXED_LENGTH) != FIXED_LENGTH


def _free(name: str, some: Iterable[str], taken: dict[str, str]) -> str:
    some = list(some)
    first = crc32(name.encode()) % len(some)
    order = some[first:] + some[:first]
    return next((one for one in order if one not in taken.values()), order[0])
