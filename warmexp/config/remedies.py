"""What to type instead of a word that Hydra cannot read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from warmexp.config.keys import GROUPS, SHARED, TOP, conf_dir, options, sweeps_dir
from warmexp.config.quoting import quoted
from warmexp.errors import closest

_CLOSED = {"[": "]", "{": "}", "(": ")"}
# Words that are programs of their own.
_PROGRAMS = ("front", "runs", "calibrate", "frequencies", "train_policy", "check_method", "bench", "harness")


def remedy(word: str, words: Sequence[str]) -> str:
    """One sentence about a word that is no KEY=VALUE, with what to write.

    words: the whole command line, where a neighbour may explain it.
    """
    return _without_equals(word, words) if "=" not in word else _with_equals(word)


def _without_equals(word: str, words: Sequence[str]) -> str:
    place = list(words).index(word) if word in words else 0
    before, behind = (words[place - 1] if place else ""), (words[place + 1] if place + 1 < len(words) else "")
    key = word.rstrip(":")
    known = _is_key(key)
    if before.endswith("=") and before.count("=") == 1:
        return f"{before} {word}: write {before}{word}, without a space."
    if known and behind.startswith("="):
        value = behind[1:] or (words[place + 2] if place + 2 < len(words) else "VALUE")
        return f"{word} {behind}: write {key}={value}, without spaces."
    if known and behind and not behind.startswith("-") and "=" not in behind:
        return f"{word} {behind}: write {key}={behind}."
    colon = re.fullmatch(r"([\w.]+):\s*(\S.*)", word)
    if colon and _is_key(colon[1]):
        return f"{word}: write {colon[1]}={colon[2]}."
    if known:
        return f"{word} has no value: write {key}=VALUE{_choices(key)}."
    if word in _PROGRAMS:
        return f"{word} is a program of its own: python -m warmexp.{word}."
    if (sweeps_dir() / f"{word}.yaml").is_file():
        return f"{word} is a study: write -m +sweep={word}."
    if (conf_dir() / "experiment" / f"{word}.yaml").is_file():
        return f"{word} is an experiment: write experiment={word}."
    groups = [group for group in GROUPS if word in options(group)]
    if groups and word != "none":
        return f"{word} is an option of a group: write {groups[0]}={word}."
    if "=" in before and not before.startswith("-"):
        if re.fullmatch(r"[-+.\deE]+", word):
            several = f"{before.rstrip(',')},{word}"
            return f"{before} {word}: several values stand in a row with commas and no spaces, {several}."
        spaced = quoted(f"{before} {word}")
        if spaced:
            return f"{before} {word}: a value with spaces stands in quotes, {spaced}."
    if word.startswith("~"):
        return f"{word} cannot be taken away: give the key its default, {word.lstrip('~').partition('=')[0]}=null."
    return f"'{word}' is no word of the form KEY=VALUE{closest(word, TOP)}: --help lists the keys."


def _with_equals(word: str) -> str:
    key, _, value = word.partition("=")
    numbers = re.findall(r"-?\d+\.?\d*|\.\d+", value)
    if key in SHARED and numbers and not re.search(r"[\[({a-z]", value):
        return f"{word}: write {key}={','.join(number.rstrip('.') for number in numbers)}."
    keys = [] if value[:1] in "[{('\"" and value else re.findall(r"(?:^|[\s;,]+)([+~]*[\w./]+)(?==)", word)
    if len(keys) > 1 and all(_is_key(one.lstrip("+~")) for one in keys):
        parts = [part for part in re.split(r"[\s;,]+(?=[+~]*[\w./]+=)", word) if part]
        return f"'{word}' is several words in one: write {' '.join(parts)}, apart."
    if value.startswith("="):
        return f"{word}: write {key}={value.lstrip('=')}, with one =."
    if value.rstrip().endswith(",") or value.lstrip().startswith(","):
        kept = value.strip(", ")
        return f"{word} begins or ends with a comma: write {key}={kept or 'VALUE'}."
    if "=" not in key and key != key.strip():
        return f"{word}: write {key.strip()}={value.strip()}, without spaces around =."
    if value[:1] in _CLOSED and value.count(value[0]) != value.count(_CLOSED[value[0]]):
        return f"{word}: {value[0]} is not closed."
    typed = quoted(word)
    if typed:
        return (
            f"{word} has characters that mean something to Hydra: put the value in quotes as well, and the whole word"
            f" in others for the shell: {typed}."
        )
    return f"{word} cannot be read: quote the value, and the whole word for the shell, as in 'KEY=\"VALUE\"'."


def _is_key(word: str) -> bool:
    top = word.lstrip("+~").partition(".")[0].partition("/")[0]
    return top in (*TOP, "sweep", "hydra", "plugins")


def _choices(key: str) -> str:
    """Of a group, its options."""
    return f", one of {', '.join(options(key))}" if key in GROUPS else ""
