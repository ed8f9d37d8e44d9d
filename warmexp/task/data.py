"""Rows of a data set: from a local JSONL file, or from the hub through `datasets`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from warmexp.errors import UserError
from warmexp.hub import offline_if_unreachable


def read_file(key: str, path: str | Path, fields: Sequence[str]) -> list[dict[str, Any]]:
    """The objects of a JSONL file; blank lines are skipped.

    Args:
        key: the configuration key, for messages ("task.path").
        fields: what every row must have.
    Raises:
        UserError: no such file, or a line that is not such an object, by number.
    """
    file = Path(path).expanduser()
    shape = "{" + ", ".join(f'"{name}": …' for name in fields) + "}"
    try:
        lines = file.read_text(encoding="utf-8").split("\n")  # not splitlines: a text may hold other line separators
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UserError(f"{key}={path} cannot be read ({why}): give a JSONL file with lines {shape}.") from None
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            for name in fields:
                row[name]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{key}={path}, line {number} is not {shape} ({error!r}).") from None
        rows.append(row)
    if not rows:
        raise UserError(f"{key}={path} is empty: give a JSONL file with lines {shape}.")
    return rows


def read_hub(dataset: str, name: str | None, split: str) -> list[dict[str, Any]]:
    """A split of a data set on the hub, or in the local cache where the hub cannot be reached."""
    offline = offline_if_unreachable()
    from datasets import load_dataset

    try:
        return list(load_dataset(dataset, name, split=split))
    except Exception as error:  # the library raises many kinds; each means that there is no data set
        first = (str(error).splitlines() or [type(error).__name__])[0]
        where = "the hub cannot be reached and it is not in the local cache" if offline else first
        raise UserError(f"task.dataset={dataset} could not be read ({where}): give task.path=FILE.jsonl instead.") from None
