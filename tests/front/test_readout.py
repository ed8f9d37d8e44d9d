"""The canvas after each forward: against a plain replay of the records, read by hand."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest

from tests.front.reports import lab_runs, records, replay
from warmexp.front.measured import measure
from warmexp.front.points import collect
from warmexp.front.readout import readout
from warmexp.readout import canvases, correct_after

RUNS = (
    ["tau=0.7", "length=eos_stop"],
    ["init=token_inject", "proposer=lab_weak", "remask=linear"],
    ["experiment=trusted", "proposer=lab_weak", "init.score=halves"],
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return lab_runs(tmp_path_factory.mktemp("readout"), RUNS, questions=64)


def replayed(record: dict) -> list[list[int | None]]:
    """Canvases after 0, 1, …, nfe forwards."""
    after, score = replay(record), (record["proposal"] or {}).get("score")
    if score:  # halves: two forwards, in which all of the proposal stands there
        offered = [record["proposal"]["ids"][i] if i < len(score) else None for i in range(len(record["ids"]))]
        after[:2] = [offered, offered]
    return after + [after[-1]] * (1 + record["nfe"] - len(after))


def last_number(canvas: list[int | None], pieces: dict[str, str]) -> str | None:
    text = "".join(pieces[str(token)] for token in canvas if token is not None)
    found = re.findall(r"\d+", re.split(r"<\|endoftext\|>|Question:", text)[0])
    return found[-1] if found else None


def test_every_step_of_a_run_is_what_its_records_say(runs):
    """The flexible filter takes the last number; so does this, of the pieces left standing by a replay."""
    for point in collect(runs)[0]:
        pieces = json.loads((point.folder / "tokens.json").read_text(encoding="utf-8"))
        rows = list(records(point.folder).values())
        right = [[last_number(canvas, pieces) == row["target"] for canvas in replayed(row)] for row in rows]
        made, most = measure(point).readout, max(row["nfe"] for row in rows)
        assert len(made.all.correct) == len(made.finished) == most + 1
        for k in range(most + 1):
            now = [steps[min(k, len(steps) - 1)] for steps in right]
            assert made.all.correct[k] == sum(now), (point.run_id, k)
            assert made.finished[k] == sum(row["nfe"] <= k for row in rows)
            if point.method != "mask":
                sides = [row["proposal"]["correct_flexible"] for row in rows]
                assert made.right.correct[k] == sum(hit for hit, side in zip(now, sides, strict=True) if side)
                assert made.wrong.correct[k] == made.all.correct[k] - made.right.correct[k]
        assert made.all.correct[-1] / made.all.n == point.accuracy and made.finished[-1] == made.all.n == 64
        assert (made.right is None) == (point.method == "mask")
    trusted = next(point for point in collect(runs)[0] if point.method == "verified")
    start = measure(trusted).readout
    assert start.right.correct[0] == start.right.n and start.wrong.correct[0] == 0  # what was offered is the proposal, whole


def test_canvases_by_hand():
    """Two tokens offered and one kept, which is revoked and decoded again; a masked end becomes end-of-text (0)."""
    result = SimpleNamespace(
        ids=(5, 6, 7, 0),
        source=("decoded", "decoded", "decoded", "mask"),
        commit_iteration=(3, 4, 2, -1),
        revocations=((1, 0, 9, "injected", -1), (3, 1, 8, "decoded", 1)),
        score=(0.9, 0.2, None, None),
        verifying=1,
        cost=SimpleNamespace(nfe=5),
    )
    assert list(canvases(result, (9, 8))) == [
        (0, [9, 8, None, None]),
        (1, [9, None, None, None]),
        (2, [None, 8, None, None]),
        (3, [None, 8, 7, None]),
        (4, [5, None, 7, None]),
        (5, [5, 6, 7, None]),
        (5, [5, 6, 7, 0]),
    ]
    told = correct_after(result, (9, 8), lambda ids: {"a": 8 in ids, "b": True, "c": ids == [5, 6, 7, 0]})
    assert told == {"a": [[0, True], [1, False], [2, True], [4, False]], "b": [[0, True]], "c": [[0, False], [5, True]]}


def test_curves_by_hand():
    def row(nfe, changes, side):
        return {"nfe": nfe, "correct_after": {"strict": changes}, "proposal": {"correct_strict": side}}

    rows = [row(1, [[0, True]], True), row(3, [[0, False], [2, True], [3, False]], False), row(2, [[0, False], [2, True]], True)]
    made = readout(rows, "strict")
    assert made.all.correct == (1, 1, 3, 2) and made.right.correct == (1, 1, 2, 2) and made.wrong.correct == (0, 0, 1, 0)
    assert made.finished == (0, 1, 2, 3) and (made.right.n, made.wrong.n) == (2, 1)
    assert readout([*rows, {"nfe": 1}], "strict") is None and readout([], "strict") is None
