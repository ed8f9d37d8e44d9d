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
    return _with_gone(row, record["moves"]) if record.get("moves") else row


def _with_gone(row: dict[str, Any], moves: list[list[int]]) -> dict[str, Any]:
    """With the positions that have gone among the others, as masks, and `life`, per position: the first state of the
    canvas that has it and the last, null for the end. State s is the canvas after s forwards."""
    order: list[dict[str, Any]] = [{"at": i, "life": [0, None]} for i in range(len(row["ids"]))]
    there = list(order)
    for n, place, count in reversed(moves):
        if count > 0:
            for slot in there[place : place + count]:
                slot["life"][0] = n + 1
            del there[place : place + count]
        else:
            gone: list[dict[str, Any]] = [{"at": None, "life": [0, n]} for _ in range(-count)]
            behind = _index(order, there[place]) if place < len(there) else len(order)
            order[behind:behind] = gone
            there[place:place] = gone
    for name, other in (("ids", 0), ("at", -1), ("confidence", None)):
        if name in row:
            row[name] = [other if slot["at"] is None else row[name][slot["at"]] for slot in order]
    row["source"] = "".join("m" if slot["at"] is None else row["source"][slot["at"]] for slot in order)
    return {**row, "life": [slot["life"] for slot in order]}


def _index(order: list[dict[str, Any]], one: dict[str, Any]) -> int:
    return next(i for i, slot in enumerate(order) if slot is one)
