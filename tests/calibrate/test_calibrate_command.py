"""From finished runs to a map, and from the map to runs that use it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from warmexp.api import planned, run_overrides
from warmexp.calibrate.__main__ import main
from warmexp.calibrate.examples import examples, read_run
from warmexp.errors import UserError
from warmexp.io import read_lines
from warmexp.lab.problems import load
from warmexp.proposers.calibration import FEATURES, Calibration, read_calibration

N = 10
LAB = ["proposer=lab_weak", "proposer.tail=eos", "task.split=calibration", f"task.limit={N}", "tau=0.7"]
HALF = Calibration("isotonic", ("trust",), 0, x=(0.5,), y=(0.5,))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def warm(folder) -> Path:
    return run_overrides(["init=verified", *LAB, f"outputs={folder}"])[1]


@pytest.fixture(scope="module")
def cold(folder) -> Path:
    return run_overrides(["init=mask", *LAB[2:], f"outputs={folder}"])[1]


def write(file: Path, made: Calibration) -> str:
    file.write_text(json.dumps(made.to_json()))
    return f"proposer.calibration={file}"


def test_fitted_stored_and_applied(warm, tmp_path, capsys):
    file = tmp_path / "maps" / "calibration.json"
    main([str(warm), "--kind", "logistic", "--back", "2", "--out", str(file)])
    said = capsys.readouterr().out
    assert (
        f"of {N} questions" in said
        and "by truth" in said
        and "raw trust" in said
        and f"proposer.calibration={file}" in said
    )
    notes = json.loads(file.read_text())["notes"]
    assert notes["questions"] == N and notes["splits"] == ["calibration"] and notes["runs"] == [warm.name]
    made = read_calibration(str(file))
    assert made.features == FEATURES and made.back == 2

    _, used = run_overrides(["init=verified", *LAB, f"proposer.calibration={file}", f"outputs={tmp_path}/out"])
    assert used.name != warm.name and json.loads((used / "calibration.json").read_text())["weights"] == list(
        made.weights
    )
    assert not (warm / "calibration.json").exists()
    texts = json.loads((used / "tokens.json").read_text())
    for before, after in zip(read_lines(warm / "records.jsonl"), read_lines(used / "records.jsonl"), strict=True):
        raw, proposal = before["proposal"], after["proposal"]
        assert raw["calibrated"] is None and proposal["trust"] == raw["trust"]
        numeric = [any(c.isdigit() for c in texts[str(i)]) for i in proposal["ids"]]
        assert proposal["calibrated"] == pytest.approx(made(raw["trust"], numeric, raw["written"]), abs=1e-3)


def test_the_map_is_part_of_what_a_run_is_and_its_place_is_not(tmp_path):
    words = ["init=verified", *LAB]
    here, there = write(tmp_path / "a.json", HALF), write(tmp_path / "b.json", HALF)
    other = write(tmp_path / "c.json", Calibration("isotonic", ("trust",), 0, x=(0.5,), y=(0.6,)))
    assert planned([*words, here]).run_id == planned([*words, there]).run_id
    assert len({planned(words).run_id, planned([*words, here]).run_id, planned([*words, other]).run_id}) == 3
    cold = ["init=mask", *LAB[2:]]
    assert planned(cold).run_id == planned([*cold, here]).run_id  # no proposal is read


def test_an_even_author_leaves_it_to_the_backbone(folder, tmp_path):
    """Trust 1/2 everywhere is verification without the author; trust below the floor injects nothing."""
    half = write(tmp_path / "half.json", HALF)
    mapped, alone = (
        run_overrides(["init=verified", *LAB, word, f"outputs={folder}"])[1] for word in (half, "init.weight=0")
    )
    facts = [[(r["id"], r["ids"], r["nfe"]) for r in read_lines(f / "records.jsonl")] for f in (mapped, alone)]
    assert facts[0] == facts[1]
    _, none = run_overrides(["init=trust_inject", "rho=1", "init.floor=0.6", *LAB, half, f"outputs={folder}"])
    assert all("injected" not in r["source"] for r in read_lines(none / "records.jsonl"))


def test_the_backbones_own_draft_is_mapped_too(tmp_path):
    half = write(tmp_path / "half.json", HALF)
    words = ["init=trust_inject", "rho=1", "proposer=self", "task.limit=2", half, f"outputs={tmp_path}"]
    for record in read_lines(run_overrides(words)[1] / "records.jsonl"):
        assert set(record["proposal"]["calibrated"]) == {0.5} != set(record["proposal"]["trust"])


def test_labels(warm, cold):
    run, reference = read_run(warm), read_run(cold)
    assert run.lab and run.split == "calibration"
    counts = [r["proposal"]["written"] + (len(r["proposal"]["ids"]) > r["proposal"]["written"]) for r in run.records]
    made = {label: examples([run], label, reference, 4, False) for label in ("truth", "survival", "answer")}
    assert {len(one.right) for one in made.values()} == {sum(counts)}
    at, solutions = 0, {p.id: p.solution for p in load("calibration", N)}
    for record, n in zip(run.records, counts, strict=True):
        here, proposal = slice(at, at + n), record["proposal"]
        assert set(made["answer"].right[here]) == {proposal["correct_flexible"]}
        final = next(r["ids"] for r in reference.records if r["id"] == record["id"])
        assert made["survival"].right[here].tolist() == [
            a == b for a, b in zip(proposal["ids"][:n], final, strict=False)
        ]
        truth = made["truth"].right[here].tolist()
        assert truth == sorted(truth, reverse=True)  # from the first slip on everything is wrong
        if proposal["text"].strip() == solutions[record["id"]]:
            assert all(truth)
        at += n
    behind = examples([run], "truth", None, 4, True)
    wrong = sum(not made["truth"].right[made["truth"].question == r["id"]].all() for r in run.records)
    assert (~behind.right).sum() == wrong > 0 and behind.right.sum() == made["truth"].right.sum()


def test_the_shipped_map(tmp_path):
    """It was not fitted on what is measured with it."""
    shipped = read_calibration("lab:trust")
    assert (
        shipped.notes["splits"] == ["calibration"]
        and shipped.notes["given"] == "right"
        and shipped.notes["questions"] == 512
    )
    assert shipped.notes["cross_validated"]["ece"] < 0.01 < shipped.notes["raw"]["ece"]
    assert planned(["init=verified", *LAB, "proposer.calibration=lab:trust"]).proposer.calibrator == shipped
    with pytest.raises(UserError, match="lab:other does not exist"):
        read_calibration("lab:other")


@pytest.mark.slow
def test_the_shipped_map_is_what_the_command_makes(tmp_path):
    there = ["task.split=calibration", f"outputs={tmp_path}"]
    words = ["init=token_inject", "rho=1", "proposer.tail=eos", *there]
    runs = [str(run_overrides([*words, f"proposer={name}"])[1]) for name in ("lab_strong", "lab_weak")]
    cold = run_overrides(["init=mask", "tau=0.7", *there])[1]
    main([*runs, "--cold", str(cold), "--given", "right", "--out", str(tmp_path / "trust.json")])
    made, shipped = read_calibration(str(tmp_path / "trust.json")), read_calibration("lab:trust")
    assert made.features == shipped.features and made.intercept == pytest.approx(shipped.intercept, abs=0.05)
    assert made.weights == pytest.approx(shipped.weights, abs=0.05)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["nowhere"], "nowhere: no"),
        (["{cold}"], "has no proposals"),
        (["{warm}", "--label", "survival"], "belong together"),
        (["{warm}", "--label", "truth", "--cold", "{cold}"], "belong together"),
        (["{warm}", "--label", "answer", "--given", "right"], "--given right needs a label"),
        (["{warm}", "--back", "-1"], "--back=-1"),
        (["{old}"], "before records kept"),
        (["{warm}", "--cold", "{few}"], "lacks 10 questions"),
    ],
)
def test_refused(words, complaint, warm, cold, tmp_path):
    old, few = tmp_path / "old", tmp_path / "few"
    for copy, records in (
        (old, [r | {"proposal": {"text": "x"}} for r in read_lines(warm / "records.jsonl")]),
        (few, []),
    ):
        copy.mkdir()
        for name in ("config.yaml", "summary.json", "tokens.json"):
            (copy / name).write_bytes((warm / name).read_bytes())
        (copy / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    places = {"warm": warm, "cold": cold, "old": old, "few": few}
    with pytest.raises(UserError, match=complaint):
        main([*(word.format(**places) for word in words), "--out", str(tmp_path / "c.json")])
    assert not (tmp_path / "c.json").exists()


def test_files_that_are_missing_or_cannot_be_written(warm, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("config.yaml", "summary.json", "records.jsonl"):
        (copy / name).write_bytes((warm / name).read_bytes())
    with pytest.raises(UserError, match=r"no readable tokens\.json"):
        main([str(copy), "--out", str(tmp_path / "c.json")])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--out.* cannot be written"):
        main([str(warm), "--out", str(tmp_path / "file" / "c.json")])


def test_a_fit_on_the_test_split_is_said(folder, tmp_path, capsys):
    _, run = run_overrides(["init=verified", "proposer=lab_weak", "task.limit=8", f"outputs={folder}"])
    main([str(run), "--kind", "isotonic", "--out", str(tmp_path / "c.json")])
    assert "warning: fitted on the test split" in capsys.readouterr().out
