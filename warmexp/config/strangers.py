"""Configuration files that are not ours, looked at before Hydra reads them; and what is composed of them, before its
references are followed.

A few lines of YAML can stand for gigabytes, name themselves, or be no text at all, and Hydra then computes for ever or
fails somewhere inside itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from warmexp.errors import UserError
from warmexp.stored_config import bounded_text, check_number

DEEPEST = 64  # levels
LARGEST = 100_000  # values, with everything written out that an alias stands for
MOST = 10_000_000  # characters, with everything written out that references stand for
REFERENCE = 1000  # characters that take as long as one reference
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check_file(file: Path) -> None:
    """Refuse a file that Hydra would not end with, or fail in.

    What is wrong with its YAML is left to Hydra's own reader, whose complaint has a line and a column.

    Raises:
        UserError: it names the file and says what is wrong.
    """
    try:
        text = bounded_text(file)
        _check_size(text)
        found = yaml.load(text, Loader=_Loader)
    except UnicodeDecodeError as error:
        raise _refusal(file, f"is not UTF-8 text (byte {error.object[error.start]:#04x})") from None
    except yaml.MarkedYAMLError:
        return
    except (yaml.YAMLError, RecursionError) as error:  # a character that YAML does not have, for one
        raise _refusal(file, f"is not YAML ({' '.join(str(error).split())[:200]})") from None
    except OSError as error:
        raise _refusal(file, f"cannot be read ({error.strerror})") from None
    except (ValueError, ArithmeticError) as error:  # also of a date that is none, or a number beyond every float
        raise _refusal(file, f"cannot be used: {' '.join(str(error).split())[:200]}") from None
    _check_parts(file, found)


def _refusal(file: Path, why: str) -> UserError:
    return UserError(f"{file} {why}: correct the file.")


def _check_size(text: str) -> None:
    """Counted event by event, because building what aliases stand for is what takes for ever."""
    sizes: dict[str, int] = {}  # of what has an anchor and is closed
    open_: list[tuple[str | None, int]] = [(None, 0)]  # anchor and size of every collection that is open
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_.pop()
        elif isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, 1))
            if len(open_) > DEEPEST + 1:
                raise ValueError(f"it is nested more than {DEEPEST} levels deep")
            continue
        elif isinstance(event, yaml.AliasEvent):
            if any(event.anchor == name for name, _ in open_):
                raise ValueError(f"the alias *{event.anchor} stands inside what it stands for")
            anchor, size = None, sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, 1
            check_number(event.value)
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        outer, before = open_[-1]
        open_[-1] = (outer, before + size)
        if before + size > LARGEST:
            raise ValueError(f"with what its aliases stand for, it has more than {LARGEST:,} values")


def _check_parts(file: Path, found: Any) -> None:
    """The parts that Hydra takes for granted."""
    if found is None:
        return
    if not isinstance(found, dict):
        raise _refusal(file, "holds no keys and values")
    if None in found:
        raise _refusal(file, "has a key that is null")
    if not isinstance(found.get("hydra", {}), dict):
        raise _refusal(file, "has a key hydra that holds no keys and values")
    defaults = found.get("defaults", [])
    if not isinstance(defaults, list) or not all(map(_is_default, defaults)):
        raise _refusal(file, "has a key defaults that is no list of options such as [{override /task: lab}, _self_]")


def _is_default(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return isinstance(entry, str)
    ((name, option),) = entry.items() if len(entry) == 1 else ((None, None),)
    listed = option if isinstance(option, list) else [option]
    return isinstance(name, str) and all(one is None or isinstance(one, str) for one in listed)


_REFERENCE = re.compile(r"\$\{\s*(\.*)([^{}:$]*?)\s*\}")


def check_references(root: Mapping[Any, Any]) -> None:
    """Refuse a configuration, not resolved, whose references (${a.b}) to what refers again stand for too much.

    Raises:
        UserError: it names the key.
    """
    sizes: dict[tuple[str, ...], int] = {}

    def size(path: tuple[str, ...], node: Any) -> int:
        if path in sizes:
            return sizes[path]
        sizes[path] = 0  # what refers to itself is OmegaConf's to refuse
        if isinstance(node, Mapping | list):
            total = sum(size((*path, key), value) for key, value in _below(node).items())
        elif isinstance(node, str):
            total = len(node)
            for dots, name in _REFERENCE.findall(node) if "${" in node else ():
                target = (*(path[: max(0, len(path) - len(dots))] if dots else ()), *re.findall(r"[^.\[\]]+", name))
                total += REFERENCE + size(target, _found(root, target))
        else:
            total = 1
        if total > MOST:
            raise UserError(
                f"{'.'.join(path)} refers to what refers to more, to {MOST:,} characters and on: write values in the"
                " place of references (${…})."
            )
        sizes[path] = total
        return total

    try:
        size((), root)
    except RecursionError:
        raise UserError(
            "a reference (${…}) of the configuration goes through hundreds of others: write values."
        ) from None


def _below(node: Mapping[Any, Any] | list[Any]) -> dict[str, Any]:
    return {str(key): value for key, value in (node.items() if isinstance(node, Mapping) else enumerate(node))}


def _found(root: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        root = _below(root).get(key) if isinstance(root, Mapping | list) else None
    return root
