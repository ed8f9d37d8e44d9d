"""The few records whose text and decode a report carries, picked from a run's records without parsing the others."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from warmexp.errors import UserError
from warmexp.io import read_json

_ID = re.compile(rb'\{"id": ?("(?:[^"\\]|\\.)*")')  # a run writes the id first


def records(folder: Path, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """id -> record, for these ids; none where the file has gone or is damaged since it was measured (stored.py has
    checked it)."""
    found, wanted = {}, {json.dumps(name, ensure_ascii=ascii).encode() for name in ids for ascii in (True, False)}
    try:
        with (folder / "records.jsonl").open("rb") as lines:
            for line in lines:
                first = _ID.match(line)
                if first is None or first[1] in wanted:
                    record = json.loads(line)
                    found[str(record["id"])] = record
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {name: found[name] for name in ids if name in found}


def token_texts(folder: Path) -> dict[str, str]:
    """Token id -> text; empty for a run of an older format."""
    try:
        return {number: str(text) for number, text in read_json(folder / "tokens.json").items()}
    except UserError:
        return {}
