"""What a run's records tell about its method: against a plain replay of the records, read and counted by hand."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest

from tests.report.reports import lab_runs, records, replay
from warmexp.analysis.measured import measure
from warmexp.analysis.points import collect
from warmexp.analysis.readout import readout
from warmexp.calibrate.examples import examples, read_run
from warmexp.lab.truth import solutions
from warmexp.runs.readout import canvases, correct_after

RUNS = (
    ["tau=0.7", "length=eos_stop"],
    ["init=token_inject", "proposer=lab_weak", "remask=linear", "anchor=edit"],
    ["experiment=trusted", "proposer=lab_weak", "init.score=halves", "init.whole=0"],
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


@pytest.mark.slow
def test_every_step_of_a_run_is_what_its_records_say(runs):
    """The flexible filter takes the last number; so does this, of the pieces left standing by a replay."""
    for point in collect(runs)[0]:
        pieces = json.loads((point.folder / "tokens.json").read_text(encoding="utf-8"))
        rows = list(records(point.folder).values())
        right = [[last_number(canvas, pieces) == row["target"] for canvas in replayed(row)] for row in rows]
        if point.method == "token_inject":
            late = [
                row["commit_iteration"][i]
                for row in rows
                for i, source in enumerate(row["source"])
                if source == "injected"
            ]
            assert max(late) >= 0, "the test needs a proposal that was moved"
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
    assert (
        start.right.correct[0] == start.right.n and start.wrong.correct[0] == 0
    )  # what was offered is the proposal, whole


def right(record: dict, ids: list[int], pieces: dict[str, str]) -> list[bool]:
    """Of the tokens up to the first end: whether what has been said up to each begins one of the question's
    solutions."""
    texts = [pieces[str(token)] for token in ids]
    end = texts.index("<|endoftext|>") if "<|endoftext|>" in texts else len(texts)
    said = ["".join(texts[: i + 1]).lstrip(" ") for i in range(end)]
    whole = (said or [""])[-1]
    verdicts = [any(s.startswith(text) for s in solutions(record["id"])) for text in said]
    return verdicts + [whole.strip() in solutions(record["id"])] * (end < len(texts))


def error(pairs: list[tuple[float, bool]]) -> float:
    """ECE as eq. 3 has it."""
    bins = [[(p, r) for p, r in pairs if min(int(10 * p), 9) == b] for b in range(10)]
    return sum(abs(sum(p for p, _ in one) - sum(r for _, r in one)) for one in bins) / len(pairs)


@pytest.mark.slow
def test_tokens_are_held_against_their_own_truth(runs):
    for point in collect(runs)[0]:
        pieces = json.loads((point.folder / "tokens.json").read_text(encoding="utf-8"))
        made, rows = measure(point), list(records(point.folder).values())
        found = {"confidence": [], "trust": [], "score": []}
        firsts = dict.fromkeys(found, 0)  # texts whose first wrong token has a number
        stands: dict[bool, list[tuple[float, bool]]] = {True: [], False: []}
        for row in rows:
            response, proposal = right(row, row["ids"], pieces), row["proposal"]
            assert row["right_tokens"] == sum(response)
            found["confidence"] += [
                (c, r)
                for c, r, i in zip(row["confidence"], response, range(row["response_tokens"]), strict=False)
                if c is not None
            ]
            at = sum(response)
            firsts["confidence"] += at < row["response_tokens"] and row["confidence"][at] is not None
            if proposal is None:
                continue
            offered = right(row, proposal["ids"], pieces)
            assert proposal["right_tokens"] == sum(offered)
            for name in ("trust", "score"):
                found[name] += zip(proposal[name] or [], offered, strict=False)
                firsts[name] += proposal[name] is not None and not all(offered)
            start = replayed(row)[0]
            for i, verdict in enumerate(offered):
                if start[i] is not None:
                    stands[verdict].append((proposal["trust"][i], row["ids"][i] == start[i]))
        for name, pairs in found.items():
            level = made.calibration[name]
            assert (level is None) == (not pairs), (point.run_id, name)
            if pairs:
                assert level.behind_right.n == sum(r for _, r in pairs) + firsts[name]
                assert level.truth == "token" and level.tokens.n == len(pairs)
                assert level.tokens.ece == pytest.approx(error(pairs)) and level.tokens.right == sum(
                    r for _, r in pairs
                ) / len(pairs)
        assert made.calibration["calibrated"] is None
        if found["trust"]:  # what warmexp.calibrate would fit on
            fitted = examples([read_run(point.folder)], "truth", None, back=0, behind_right=True)
            level = made.calibration["trust"].behind_right
            assert (level.n, level.right) == (len(fitted.right), pytest.approx(fitted.right.mean()))
            assert level.mean == pytest.approx(fitted.rows[:, 0].mean())
        for side, verdict in (("right", True), ("wrong", False)):
            for one in getattr(made.survival, side) if made.survival else ():
                members = [same for t, same in stands[verdict] if one.low <= t < one.high or t == one.high == 1]
                assert one.n == len(members) and (not members or one.same == pytest.approx(sum(members) / len(members)))
        assert (made.survival is None) == (point.method == "mask")


def test_canvases_by_hand():
    """Two tokens offered and one kept, which is revoked and decoded again; a masked end becomes end-of-text (0)."""
    result = SimpleNamespace(
        ids=(5, 6, 7, 0),
        source=("decoded", "decoded", "decoded", "mask"),
        commit_iteration=(3, 4, 2, -1),
        revocations=((1, 0, 9, "injected", -1), (3, 1, 8, "decoded", 1)),
        columns={"score": (0.9, 0.2, None, None), "verifying": 1},
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

    rows = [
        row(1, [[0, True]], True),
        row(3, [[0, False], [2, True], [3, False]], False),
        row(2, [[0, False], [2, True]], True),
    ]
    made = readout(rows, "strict")
    assert (
        made.all.correct == (1, 1, 3, 2) and made.right.correct == (1, 1, 2, 2) and made.wrong.correct == (0, 0, 1, 0)
    )
    assert made.finished == (0, 1, 2, 3) and (made.right.n, made.wrong.n) == (2, 1)
    assert readout([*rows, {"nfe": 1}], "strict") is None and readout([], "strict") is None
