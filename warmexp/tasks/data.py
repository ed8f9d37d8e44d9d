"""Rows of a data set: from a local JSONL file, or from the hub through `datasets`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from warmexp.errors import UserError
from warmexp.jsonl import Row, read_rows
from warmexp.models.hub import offline_if_unreachable


def read_file(key: str, path: str | Path, fields: Sequence[str]) -> list[Row]:
    """The objects of a JSONL file; blank lines are skipped.

    Args:
        key: the configuration key, for messages ("task.path").
        fields: what every row must have, as text (Row.text) that is not blank.
    Raises:
        UserError: no such file, or a line that is not such an object, by number.
    """
    shape = "{" + ", ".join(f'"{name}": …' for name in fields) + "}"
    rows = list(read_rows(Path(path).expanduser(), f"{key}={path}"))
    if not rows:
        raise UserError(f"{key}={path} is empty: give a JSONL file with lines {shape}.")
    for row in rows:
        absent = [name for name in fields if name not in row.values]
        if absent:
            raise UserError(f'{row.where} is not {shape}: it has no "{absent[0]}".')
        for name in fields:
            if not row.text(name).strip():
                raise UserError(
                    f'{row.where}: "{name}" is empty, which no response can meet: fill it in, or leave the line out.'
                )
    return rows


def read_hub(dataset: str, name: str | None, split: str) -> list[Row]:
    """A split of a data set on the hub, or in the local cache where the hub cannot be reached."""
    offline = offline_if_unreachable()
    from datasets import load_dataset

    try:
        rows = list(load_dataset(dataset, name, split=split))
    except Exception as error:  # the library raises many kinds; each means that there is no data set
        first = (str(error).splitlines() or [type(error).__name__])[0]
        where = "the hub cannot be reached and it is not in the local cache" if offline else first
        raise UserError(
            f"task.dataset={dataset} could not be read ({where}): give task.path=FILE.jsonl instead."
        ) from None
    return [Row(row, f"task.dataset={dataset}, {split} row {i}") for i, row in enumerate(rows)]
