r"""Texts on the command line: escapes in quotes, and how to quote what Hydra cannot read.

Hydra keeps a backslash as it is, so that "Question: {question}\nAnswer:" would ask every question with a backslash and
an n in it. In quotes `\n`, `\t` and `\r` are read as everywhere else, and `\\n` is a backslash and an n. A regular
expression says `\n` itself, so a key whose name ends in `pattern` is left alone, and so is one that names a file.
"""

from __future__ import annotations

import re
import shlex

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep
from hydra.errors import HydraException

from warmexp.errors import UserError

_QUOTED = re.compile(r"""(?<=[=,\[{(:\s])(['"])((?:\\.|(?!\1).)*)\1""", re.DOTALL)
_ESCAPE = re.compile(r"\\(\\?)([ntr])")
_MEANT = {"n": "\n", "t": "\t", "r": "\r"}
_KEPT = re.compile(r"(pattern|path|outputs|file|folder|dir)$|^hydra\b")
# Commands of TeX that begin with a letter of an escape: nobody wants a tab before "heta".
_TEX = re.compile(
    r"\\(?:text\w*|tau|tan|theta|times|to|top|triangle\w*|ne|neq|neg|nu|not|nabla|newline|rho|right\w*|rangle|rfloor|rceil|rm)"
    r"(?![a-z])"
)


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+").strip()


def unescaped(word: str) -> str:
    """A word KEY=VALUE with the escapes that stand in its quotes read.

    Raises:
        UserError: an escape that is as likely the beginning of a TeX command.
    """
    key, equals, value = word.partition("=")
    if "\\" not in value or _KEPT.search(_key(word)):
        return word
    return key + equals + _QUOTED.sub(lambda text: text[1] + _read(_key(word), text[2]) + text[1], f"={value}")[1:]


def _read(key: str, text: str) -> str:
    tex = _TEX.search(text.replace("\\\\", "\0"))
    if tex:
        letter, rest = tex[0][1], tex[0][2:]
        raise UserError(
            f"{key}: {tex[0]} may be a command of TeX or an escape before '{rest}': write \\{tex[0]} for the command,"
            f" or put a space behind \\{letter}."
        )
    return _ESCAPE.sub(lambda found: f"\\{found[2]}" if found[1] else _MEANT[found[2]], text)


def escaped(word: str) -> str:
    """What `unescaped` reads as this word, for words that pass through a command line again."""
    key, equals, value = word.partition("=")
    if "\\" not in value or _KEPT.search(_key(word)):
        return word
    again = _QUOTED.sub(lambda text: text[1] + re.sub(r"\\([ntr])", r"\\\\\1", text[2]) + text[1], f"={value}")
    return key + equals + again[1:]


def check_unquoted(word: str, value: object) -> None:
    """Refuse an escape outside of quotes, where it would stay a backslash and a letter.

    value: of the word, as Hydra's parser gives it: a text in quotes is a QuotedString.
    """
    if isinstance(value, ChoiceSweep):
        value = value.list
    if isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            check_unquoted(word, one)
    elif isinstance(value, str) and _ESCAPE.search(value) and not _KEPT.search(_key(word)):
        found = _ESCAPE.search(value)
        raise UserError(
            f"{word}: {found[0]} is an escape only within quotes of Hydra's: write"
            f" {quoted(word) or 'the text in them'}."
        )


def quoted(word: str) -> str | None:
    """How to type, in a shell, a word whose value is one text, or a list of texts; None where that cannot be said."""
    key, _, value = word.partition("=")
    if value.startswith("[") and value.endswith("]"):
        typed = f"{key}=[{','.join(map(_in_quotes, value[1:-1].split(',')))}]"
    else:
        typed = f"{key}={_in_quotes(value)}"
    try:
        override = OverridesParser.create().parse_override(typed)
    except HydraException:
        return None
    if override.is_sweep_override():
        return None
    return shlex.quote(typed)


def _in_quotes(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    return '"' + text.replace('"', '\\"') + '"'
