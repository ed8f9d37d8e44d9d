"""A record in the page's own short form. Token ids become numbers of the run's own short list of texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from warmexp.secrets import is_secret

_SOURCES = {"mask": "m", "injected": "i", "decoded": "d", "fixed": "f"}


def packed(rows: Iterable[tuple[int, dict[str, Any]]], tokens: dict[str, str]) -> dict[str, Any]:
    """{"tokens": texts, "rows": [...]} from (index of the question, record); the texts are the ones these records need.

    Without token texts (records of an older format) a token shows as its number.
    """
    numbers: dict[int, int] = {}

    def number(token: int) -> int:
        return numbers.setdefault(token, len(numbers))

    short = [_row(place, record, number) for place, record in rows]
    return {"tokens": [tokens.get(str(token), f"#{token}") for token in numbers], "rows": short}


def _row(place: int, record: dict[str, Any], number: Callable[[int], int]) -> dict[str, Any]:
    """Confidence in whole percent; revocations as [iteration, position, token, source, iteration of the undone
    commit]."""
    row: dict[str, Any] = {"q": place, "response": record.get("response", "")}
    if record.get("proposal"):
        row["proposal"] = record["proposal"].get("text", "")
    if not all(name in record for name in ("ids", "commit_iteration", "source")):
        return row
    if is_secret(record.get("response_uncut", row["response"])):  # its tokens would spell it
        return row
    row["ids"] = [number(token) for token in record["ids"]]
    row["at"] = record["commit_iteration"]
    row["source"] = "".join(_SOURCES.get(source, "m") for source in record["source"])
    row["revoked"] = [
        [n, i, number(token), _SOURCES.get(source, "m"), at]
        for n, i, token, source, at in record.get("revocations", ())
    ]
    if record.get("confidence"):
        row["confidence"] = [None if c is None else round(100 * c) for c in record["confidence"]]
    return row
