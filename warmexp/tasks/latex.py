"""MATH answers: where they stand in a response and when two of them are the same, as lm-evaluation-harness's
`hendrycks_math` has it.

Of the harness's two scorers for MATH this is the older, which compares strings. The other (`minerva_math`) parses LaTeX
with sympy, which needs antlr 4.11; Hydra needs antlr 4.9, so both cannot be installed together. These are our own lines
rather than an import, so that decoding does not need the harness; tests/tasks/test_latex.py holds them equal to the
harness's functions, also where those fall back to comparing the raw strings because a step of the normalisation fails.

Source: `lm_eval/tasks/hendrycks_math/utils.py` (task version 1) of EleutherAI lm-evaluation-harness; data arXiv
2103.03874.
"""

from __future__ import annotations

# Deleted or replaced one after another, before and after the units on the right are cut off.
_BEFORE_UNITS = (
    ("\n", ""), ("\\!", ""), ("\\\\", "\\"), ("tfrac", "frac"), ("dfrac", "frac"), ("\\left", ""), ("\\right", ""), ("^{\\circ}", ""),
    ("^\\circ", ""), ("\\$", ""),
)  # fmt: skip
_AFTER_UNITS = (("\\%", ""), (" .", " 0."), ("{.", "{0."))
_UNIT = "\\text{ "


class _Unreadable(ValueError):
    """A step of the normalisation does not apply; the answers are then compared as they are."""


def between_dollars(text: str) -> str:
    """The harness's answer of a response: what stands between its first and its last dollar sign, or all of it."""
    first, last = text.find("$"), text.rfind("$")
    return text if first == last else text[first + 1 : last]


def last_boxed(text: str) -> str | None:
    """The content of the last `\\boxed{…}` (or `\\boxed …` up to a dollar sign); None where there is none or its braces
    do not close."""
    if "\\boxed " in text:
        return text.rpartition("\\boxed ")[2].partition("$")[0]
    start = text.rfind("\\boxed")
    depth = 0
    for i in range(start, len(text)) if start >= 0 else ():
        depth += (text[i] == "{") - (text[i] == "}")
        if text[i] == "}" and depth == 0:
            inside = text[start : i + 1].removeprefix("\\boxed{")
            return inside[:-1] if len(inside) < i + 1 - start else None
    return None


def same_answer(one: str, other: str) -> bool:
    """Whether two answers are equal after the harness's normalisation of both."""
    try:
        return normalise(one) == normalise(other)
    except _Unreadable:
        return one == other


def normalise(text: str) -> str:
    """An answer without spacing, units and the spellings of LaTeX that mean the same.

    Raises:
        ValueError: where a step does not apply (a fraction without a numerator, two units).
    """
    for old, new in _BEFORE_UNITS:
        text = text.replace(old, new)
    text, *units = text.split(_UNIT)
    if len(units) > 1:
        raise _Unreadable
    for old, new in _AFTER_UNITS:
        text = text.replace(old, new)
    if not text:
        return text
    if text[0] == ".":
        text = "0" + text
    name, *value = text.split("=")
    if len(value) == 1 and len(name) <= 2:  # "k = 3"
        text = value[0]
    text = _braced_fractions(_braced_roots(text).replace(" ", ""))
    return _stacked("\\frac{1}{2}" if text == "0.5" else text)


def _braced_roots(text: str) -> str:
    """\\sqrt3 is \\sqrt{3}."""
    head, *tails = text.split("\\sqrt")
    if not all(tails):
        raise _Unreadable
    return "\\sqrt".join([head, *(tail if tail[0] == "{" else f"{{{tail[0]}}}{tail[1:]}" for tail in tails)])


def _braced_fractions(text: str) -> str:
    """\\frac12 and \\frac1{2} are \\frac{1}{2}; a text with a fraction that is cut off after one character is left as
    it is."""
    head, *tails = text.split("\\frac")
    parts = [head]
    for tail in tails:
        if not tail:
            raise _Unreadable
        if tail[0] == "{":
            parts.append(tail)
        elif len(tail) == 1:
            return text
        else:
            below = tail[1:] if tail[1] == "{" else f"{{{tail[1]}}}{tail[2:]}"
            parts.append(f"{{{tail[0]}}}{below}")
    return "\\frac".join(parts)


def _stacked(text: str) -> str:
    """1/2 is \\frac{1}{2}, for whole numbers."""
    if text.count("/") != 1:
        return text
    above, below = text.split("/")
    try:
        numbers = int(above), int(below)
    except ValueError:
        raise _Unreadable from None
    return f"\\frac{{{numbers[0]}}}{{{numbers[1]}}}" if f"{numbers[0]}/{numbers[1]}" == text else text
