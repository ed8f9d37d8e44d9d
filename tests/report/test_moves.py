"""Positions that appear and go, as the decode's page has them."""

from __future__ import annotations

import pytest

from warmexp.report.html.decodes import packed


def shown(ids, moves):
    """The page's row, and the canvas after every forward by hand: `.` a mask, else a token's number."""
    size = len(ids)
    record = {
        "ids": ids, "commit_iteration": [9] * size, "source": ["decoded"] * size, "confidence": [0.5] * size, "moves": moves,
        "response": "",
    }  # fmt: skip
    row = packed([(0, record)], {})["rows"][0]
    life = row.get("life") or [[0, None]] * len(row["ids"])
    return row, [sum(a <= s and (b is None or s <= b) for a, b in life) for s in range(4)]


@pytest.mark.parametrize(
    ("size", "moves", "sizes"),
    [
        (6, [[0, 4, 2]], [4, 6, 6, 6]),
        (6, [[1, 2, 2]], [4, 4, 6, 6]),
        (4, [[0, 4, -2]], [6, 4, 4, 4]),
        (5, [[0, 4, 3], [1, 5, -2]], [4, 7, 5, 5]),
        (5, [[0, 4, -2], [2, 1, 1]], [6, 4, 4, 5]),
    ],
)
def test_the_canvas_of_every_forward_has_its_length(size, moves, sizes):
    row, found = shown(list(range(10, 10 + size)), moves)
    assert found == sizes
    kept = [token for token, source in zip(row["ids"], row["source"], strict=True) if source == "d"]
    assert kept == list(range(size)), "final tokens in their order"
    assert len(row["at"]) == len(row["confidence"]) == len(row["life"]) == len(row["ids"])


def test_a_canvas_that_keeps_its_length_is_as_it_was():
    row, found = shown([3, 4], [])
    assert "life" not in row and found == [2] * 4


def test_what_appears_stands_where_it_was_put():
    row, _ = shown([1, 2, 3, 4], [[1, 1, 2]])
    assert row["life"] == [[0, None], [2, None], [2, None], [0, None]]
    row, _ = shown([1, 2], [[0, 1, -2]])
    assert row["life"] == [[0, None], [0, 0], [0, 0], [0, None]] and row["source"] == "dmmd"
