"""The words of a command line, looked at before Hydra sees them: what it would answer with a traceback, with a page of
usage or not at all gets a sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, QuotedString
from hydra.errors import HydraException

from warmexp.config.flags import apart, check_flags
from warmexp.config.keys import GROUPS, LISTS, PLAIN, SHARED, TOP, keys_of, options, sweeps_dir
from warmexp.config.messages import OPTUNA
from warmexp.config.quoting import check_unquoted
from warmexp.config.remedies import remedy
from warmexp.errors import UserError

_MULTIRUN = {"-m", "--multirun", "hydra.mode=MULTIRUN"}


def check_words(words: Sequence[str]) -> None:
    """Refuse what no run can be made of.

    Raises:
        UserError: names the word, and what to write instead.
    """
    for word in words:
        if not word.isprintable() and any("\ud800" <= c <= "\udfff" for c in word):
            raise UserError(
                f"{word.encode('ascii', 'backslashreplace').decode()} is not UTF-8 text: write it in UTF-8."
            )
    check_flags(words, (*TOP, "sweep"))
    # Of what completes words, the line is half a line.
    overrides = [] if {"--shell-completion", "-sc"} & set(words) else _overrides(words)
    for override in overrides:
        group = override.key_or_group
        if override.type == OverrideType.DEL and group in (*GROUPS, "study"):
            others = f": {group}=none is a choice as any other" if "none" in options(group) else ""
            raise UserError(f"{override.input_line} is refused: a run always has {group}; choose one{others}.")
        if (group in GROUPS or group in ("experiment", "sweep") or "/" in group) and override.type != OverrideType.DEL:
            for value in _values(override):
                if group in LISTS and isinstance(value, list):
                    if not all(isinstance(_text(one), str) for one in value):
                        raise UserError(f"{override.input_line} is no list of options: {group} takes names of them.")
                elif not isinstance(value, str):
                    raise UserError(f"{override.input_line} is not an option: {group} takes the name of one.")
    if any(override.key_or_group == "hydra/sweeper" and _text(override.value()) == "optuna" for override in overrides):
        raise UserError(OPTUNA)
    _check_studies(overrides)
    _check_several(overrides, words)


def _check_studies(overrides: Sequence[Override]) -> None:
    """`+sweep=NAME` adds a study's file, once."""
    named = [override for override in overrides if override.key_or_group == "sweep"]
    if len(named) > 1 or any(override.is_sweep_override() for override in named):
        raise UserError(
            f"{' '.join(str(override.input_line) for override in named)}: a command runs one study; give one"
            " +sweep=NAME, and run one study after the other."
        )
    for override in named:
        if override.type not in (OverrideType.ADD, OverrideType.FORCE_ADD):
            files = ", ".join(sorted(file.stem for file in sweeps_dir().glob("*.yaml")))
            raise UserError(
                f"{override.input_line}: a study is added, so write +sweep={_text(override.value())} (the studies:"
                f" {files})."
            )


def _check_several(overrides: Sequence[Override], words: Sequence[str]) -> None:
    """Several values of a key are a study, which is asked for; and so is what carries studies out."""
    studies = any(override.key_or_group == "sweep" for override in overrides)
    asked = any(word in _MULTIRUN or word.startswith("--mu") for word in words)
    if studies or asked or any(word.startswith(("--", "-h", "-c", "-i", "-sc")) for word in words):
        return
    for override in overrides:
        key, _, value = str(override.input_line).partition("=")
        if override.key_or_group in ("hydra/launcher", "hydra/sweeper"):
            raise UserError(f"{override.input_line} carries out a study, and this is one run: add -m, or leave it out.")
        if override.is_sweep_override():
            decimal = key in SHARED and re.fullmatch(r"\d+,\d+", value)
            number = f"; a number has a full stop, {key}={value.replace(',', '.')}" if decimal else ""
            known = {*GROUPS, *SHARED, *PLAIN, "experiment"} - set(LISTS)
            single = key.lstrip("+") in known or re.fullmatch(r"[-+.,\d]*", value)
            lists = "" if single else f"; a list is written {key}=[{value}]"
            raise UserError(
                f"{override.input_line} gives {key} several values: add -m to run each of them as a"
                f" study{number}{lists}."
            )


def spread(words: Sequence[str]) -> list[str]:
    """The words of a study, in which a key of an option among several is a sweep of its one value.

    Hydra composes what no value varies in before it chooses among several options: with `length=daedal,rho_eos
    length.initial=48` it would look for the key in the option that is the default.
    """
    if not any(word in _MULTIRUN or word.startswith("--mu") for word in words):
        return list(words)
    parser, made = OverridesParser.create(), list(words)
    read = {word: parser.parse_override(word) for word in apart(words)[1]}
    several = {o.key_or_group for o in read.values() if o.is_sweep_override() and o.key_or_group in GROUPS}
    for i, word in enumerate(words):
        override = read.get(word)
        if override is None or override.type != OverrideType.CHANGE or override.is_sweep_override():
            continue
        group, _, rest = override.key_or_group.partition(".")
        if group in several and group not in LISTS and rest and rest.partition(".")[0] not in keys_of(group):
            key, _, value = word.partition("=")
            made[i] = f"{key}=choice({value or repr('')})"
    return made


def _overrides(words: Sequence[str]) -> list[Override]:
    """Every word that is no option, read.

    Raises:
        UserError: for the first that cannot be.
    """
    found = []
    parser = OverridesParser.create()
    for word in apart(words)[1]:
        try:
            override = parser.parse_override(word)
        except HydraException:
            raise UserError(remedy(word, words)) from None
        check_unquoted(word, override._value)
        found.append(override)
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
