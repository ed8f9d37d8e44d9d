"""The options of the command line, those words that begin with a dash: ours and Hydra's, checked before Hydra sees
them, which would answer a slip with a page of usage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NoReturn

from warmexp.config.keys import SYNONYMS
from warmexp.config.parser import get_args_parser
from warmexp.errors import UserError, closest

DRY_RUN, PLAN = "--dry-run", "--plan"
OURS = (DRY_RUN, PLAN)
RERUN = "--experimental-rerun"
# Hydra's own options that take the word behind them.
_WITH_A_WORD = {"--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd", "--package", "-p"}
_INFO, _CFG = {"all", "config", "defaults", "defaults-tree", "plugins", "searchpath"}, {"job", "hydra", "all"}
_WITH_A_CHOICE = {"--info": _INFO, "-i": _INFO, "--cfg": _CFG, "-c": _CFG}


def check_flags(words: Sequence[str], keys: Sequence[str]) -> None:
    """Refuse an option that there is not, or one without its value.

    keys: what can be written KEY=VALUE; `--tau 0.9` is then explained.
    Raises:
        UserError: names the option and what to write.
    """
    for word in words:
        if word.startswith("--e") and RERUN.startswith(word.partition("=")[0]):  # Hydra takes it abbreviated as well
            raise UserError(
                f"{RERUN} is refused, since it runs what stands in a pickle: ask for the same run by its overrides."
            )
    theirs = in_order([word for word in words if word not in OURS])
    _check_package(theirs, keys)
    parser = get_args_parser()
    known = [option for action in parser._actions for option in action.option_strings]

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{_tidy(message)}: --hydra-help lists the options.")

    parser.error = refuse
    version = [word for word in theirs if word == "--version"]
    found, unknown = parser.parse_known_args([word for word in theirs if word not in version])
    if found.resolve and not found.cfg and not found.help:
        raise UserError("--resolve belongs to --cfg: write `--cfg job --resolve`, or leave it out.")
    for word in unknown:
        raise UserError(_unknown(word, words, known, keys))


def _check_package(words: Sequence[str], keys: Sequence[str]) -> None:
    """Hydra ends with a line of its own where there is no such part."""
    for option, part in pairwise(words):
        if option in ("--package", "-p") and part.lstrip("_@").partition(".")[0] not in (
            *keys,
            "hydra",
            "global_",
            "group_",
        ):
            raise UserError(
                f"{option} {part} is no part of the configuration{closest(part, keys)}: name one such as init, or"
                " leave it out."
            )


def _unknown(word: str, words: Sequence[str], known: Sequence[str], keys: Sequence[str]) -> str:
    name, _, value = word.lstrip("-").partition("=")
    name = name.replace("-", "_")
    behind = list(words[list(words).index(word) + 1 :])
    value = value or (behind[0] if behind and not behind[0].startswith("-") and "=" not in behind[0] else "")
    if name in keys or name.partition(".")[0] in keys:
        return f"{word} is not an option: a key is written without dashes, {name}={value or 'VALUE'}."
    if name in SYNONYMS:
        ours, _, kind = SYNONYMS[name].rpartition("=")
        typed = f"{ours}={value}" if value and kind.isupper() else SYNONYMS[name]
        return f"{word} is not an option: a key is written without dashes, {typed}."
    near = [option for option in (*OURS, *known) if _letters(option) == _letters(word.partition("=")[0])]
    hint = f", did you mean '{near[0]}'?" if near else closest(word, [*OURS, *known])
    listed = "--help lists keys, which are written KEY=VALUE, and --hydra-help options."
    return f"{word} is not an option{hint or ':'} {listed}"


def _letters(option: str) -> str:
    return re.sub(r"\W|_", "", option).lower()


def _tidy(message: str) -> str:
    """argparse's `argument --cfg/-c: expected one argument` as the beginning of a sentence."""
    message = message.removeprefix("argument ")
    for option, choices in {"--cfg": "job, hydra or all", "--package": "a part of the configuration"}.items():
        if message.startswith(option) and "expected one argument" in message:
            return f"{option} takes {choices}, such as {option} {'job' if option == '--cfg' else 'init'}"
    if alone := re.fullmatch(r"([^ :]+): ignored explicit argument ('.*')", message):
        return f"{alone[1]} takes no value, and {alone[2]} was given"
    return message


def in_order(words: Sequence[str]) -> list[str]:
    """Options first, then overrides, each in their order: Hydra wants its overrides in a row, and a person adds `-m`
    where it occurs."""
    options, overrides = apart(words)
    return [*options, *overrides]


def apart(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options with what belongs to them, and the other words."""
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
    return options, overrides
