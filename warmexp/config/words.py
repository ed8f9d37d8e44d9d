"""The words of a command line, looked at before Hydra sees them: what it would answer with a traceback gets a
sentence."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, QuotedString
from hydra.errors import HydraException

from warmexp.config.plan import GROUPS
from warmexp.decode.strategy import LISTS
from warmexp.errors import UserError


def check_words(words: Sequence[str]) -> None:
    """Refuse what no run can be made of.

    Raises:
        UserError: names the word.
    """
    for word in words:
        if not word.isprintable() and any("\ud800" <= c <= "\udfff" for c in word):
            raise UserError(
                f"{word.encode('ascii', 'backslashreplace').decode()} is not UTF-8 text: write it in UTF-8."
            )
    for override in _overrides(words):
        group = override.key_or_group
        if (group in GROUPS or group in ("experiment", "sweep") or "/" in group) and override.type != OverrideType.DEL:
            for value in _values(override):
                if group in LISTS and isinstance(value, list):
                    if not all(isinstance(_text(one), str) for one in value):
                        raise UserError(f"{override.input_line} is no list of options: {group} takes names of them.")
                elif not isinstance(value, str):
                    raise UserError(f"{override.input_line} is not an option: {group} takes the name of one.")


# Hydra's own options that take the word behind them.
_WITH_A_WORD = {"--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd", "--package", "-p"}
_INFO, _CFG = {"all", "config", "defaults", "defaults-tree", "plugins", "searchpath"}, {"job", "hydra", "all"}
_WITH_A_CHOICE = {"--info": _INFO, "-i": _INFO, "--cfg": _CFG, "-c": _CFG}


def in_order(words: Sequence[str]) -> list[str]:
    """Options first, then overrides, each in their order: Hydra wants its overrides in a row, and a person adds `-m`
    where it occurs."""
    options: list[str] = []
    overrides: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if not word.startswith("-"):
            overrides.append(word)
            continue
        options.append(word)
        if left and (word in _WITH_A_WORD or left[0] in _WITH_A_CHOICE.get(word, ())):
            options.append(left.pop(0))
    return [*options, *overrides]


def _overrides(words: Sequence[str]) -> list[Override]:
    """Those that can be read; what cannot is Hydra's to complain of."""
    found = []
    parser = OverridesParser.create()
    for word in words:
        if "=" in word and not word.startswith("-"):
            try:
                found.append(parser.parse_override(word))
            except HydraException:
                continue
    return found


def _values(override: Override) -> list[object]:
    """The values of a word, a text in quotes as a text; none where they are drawn or looked up (an interval, a
    glob)."""
    if override.is_sweep_override():
        values = list(override.sweep_iterator()) if override.is_choice_sweep() else []
    else:
        values = [override.value()]
    return [_text(value) for value in values]


def _text(value: object) -> object:
    return value.text if isinstance(value, QuotedString) else value
