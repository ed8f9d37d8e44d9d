"""config.yaml of a run's folder, which may come from somebody else: read as data, and never resolved.

`${oc.env:NAME}` in it stays the text that it is. What no run writes is refused before anything is built of it: YAML
aliases (a few lines of them stand for gigabytes), deep nesting, more than a megabyte, tags that make objects.
"""

from __future__ import annotations

import os
import re
import stat
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from warmexp.console import visible
from warmexp.secrets import without_secrets

_MOST_BYTES = 2**20
_DEEPEST = 64  # levels
_SHORT = 200  # characters of a text that many runs say, and what was made of it is kept
# Without O_NONBLOCK, opening a FIFO waits for a writer.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def read_config(folder: Path) -> dict[str, Any]:
    """A stored configuration as plain dicts, lists, numbers and texts, without secrets, and without what a terminal
    would act on.

    Raises:
        ValueError: one sentence that names the folder and says what is wrong.
    """
    try:
        return _harmless(without_secrets(read_yaml(folder / "config.yaml")))
    except FileNotFoundError:
        raise ValueError(f"{folder}: no config.yaml") from None
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{folder}: config.yaml cannot be read ({getattr(error, 'strerror', None) or error})"
        ) from None


def _harmless(node: Any) -> Any:
    """Its texts name runs in tables, pictures and warnings of other libraries."""
    if isinstance(node, dict):
        return {_harmless(key): _harmless(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_harmless(value) for value in node]
    if not isinstance(node, str):
        return node
    return _kept_visible(node) if len(node) <= _SHORT else visible(node)


_kept_visible = lru_cache(maxsize=65536)(visible)


def read_yaml(file: Path) -> dict[str, Any]:
    """A mapping that OmegaConf or a person wrote.

    Raises:
        OSError: the file cannot be read.
        ValueError: one clause that says what is wrong with it.
    """
    text = bounded_text(file)
    try:
        found = _built(text)
    except (
        yaml.YAMLError,
        RecursionError,
        ArithmeticError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        raise ValueError(" ".join(str(error).split())[:300]) from None
    if not isinstance(found, dict):
        raise ValueError("it is not a mapping")
    return found


def bounded_text(file: Path) -> str:
    """The text of a regular file of at most a megabyte; a pipe is not waited for.

    Raises:
        OSError: the file cannot be read.
        ValueError: one clause that says what is wrong with it.
    """
    descriptor = os.open(file, _FLAGS)
    with os.fdopen(descriptor, "rb", closefd=True) as handle:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a regular file")
        content = handle.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"it is larger than {_MOST_BYTES:,} bytes")
    return content.decode("utf-8")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Numbers as OmegaConf writes them (1e-05 is one); a date is a text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(?:\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _built(text: str) -> Any:
    """What a document holds, made event by event: a folder of runs is read several times faster than by building nodes
    first, since the same words come again and again."""
    left: list[list[Any]] = [[]]  # what stands in every collection that is open, keys and values in turn
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.ScalarEvent):
            scalar = _kept_scalar if len(event.value) <= _SHORT else _scalar
            left[-1].append(scalar(event.value, event.implicit, event.tag))
        elif isinstance(event, yaml.CollectionStartEvent):
            if event.tag not in (None, "!"):
                raise ValueError(f"it has the tag {event.tag}, which no run writes")
            left.append([])
            if len(left) > _DEEPEST + 1:
                raise ValueError(f"it is nested more than {_DEEPEST} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            parts = left.pop()
            mapping = isinstance(event, yaml.MappingEndEvent)
            left[-1].append(dict(zip(parts[::2], parts[1::2], strict=True)) if mapping else parts)
        elif isinstance(event, yaml.AliasEvent):
            raise ValueError("it has YAML aliases, which no run writes")
        elif isinstance(event, yaml.DocumentStartEvent) and left[0]:
            raise ValueError("it holds several documents")
    return left[0][0] if left[0] else None


_SIXTIES = re.compile(r"[-+\d_.:]+")
_LONGEST_NUMBER = 4096  # characters


def check_number(word: str) -> None:
    """Of the numbers of YAML, 1:1:1… to the base of sixty takes the square of its length to read.

    Raises:
        ValueError: it is one of thousands of characters.
    """
    if len(word) > _LONGEST_NUMBER and _SIXTIES.fullmatch(word):
        raise ValueError(f"it has a number of more than {_LONGEST_NUMBER} characters")


_WORDS = _Loader("")  # how words without quotes are read


def _scalar(value: str, implicit: tuple[bool, bool], tag: str | None) -> Any:
    check_number(value)
    if tag in (None, "!"):
        tag = _WORDS.resolve(yaml.ScalarNode, value, implicit)
    node = yaml.ScalarNode(tag, value)
    if tag not in _PLAIN:
        raise ValueError(f"it has the tag {tag}, which no run writes")
    return _Loader.yaml_constructors[tag](_WORDS, node)


_kept_scalar = lru_cache(maxsize=65536)(_scalar)
_PLAIN = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null"))
