"""A token in a question, a proposal, a path and a failure: no file that is left, and nothing that is said, holds it."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path

import pytest

from warmexp.__main__ import main
from warmexp.runs.record import without_a_secret
from warmexp.secrets import REMOVED

TOKEN = "ghp_aB3dE5fG7hJ9kL2mN4pQ6rS8tU0vW"
PASSWORD = "open-sesame-1234"
PROMPT = f"Clone https://me:{PASSWORD}@host.example/x with {TOKEN}. How many pens are 2 + 2?"


def run_main(monkeypatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["warmexp", *words])
    # Hydra composes once more in front, to look for a hydra.mode, and goes on without one if that fails.
    if not any(word.startswith("hydra.mode") for word in words):
        monkeypatch.setattr("hydra._internal.hydra.Hydra.get_mode", lambda *_, **__: None)
    try:
        main()
    except SystemExit as end:
        return end.code
    return 0


def everything(folder: Path) -> str:
    """The text of all files, what reports have packed included."""
    found = []
    for file in (file for file in folder.rglob("*") if file.is_file()):
        text = file.read_bytes().decode("utf-8", "replace")
        blocks = re.findall(r'<script type="text/plain" id="[\w-]+">([^<]*)<', text)
        found += [str(file), text, *(gzip.decompress(base64.b64decode(block)).decode() for block in blocks)]
    return "\n".join(found)


@pytest.fixture
def questions(quiet_home) -> Path:
    file = quiet_home / "questions.jsonl"
    rows = [
        {"id": "q1", "question": PROMPT, "answer": "#### 4"},
        {"id": "q2", "question": "How many are 1 + 1?", "answer": "#### 2"},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_a_study_leaves_and_says_nothing_secret(questions, quiet_home, monkeypatch, capfd):
    proposals = quiet_home / "proposals.jsonl"
    rows = [{"id": "q1", "text": f"It is {TOKEN} pens. #### 4"}, {"id": "q2", "text": "#### 2"}]
    proposals.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [
        "task=jsonl", f"task.path={questions}", "proposer=file", f"proposer.path={proposals}", "init=token_inject", "rho=1,0.5",
        "study.name=t",
    ]  # fmt: skip
    assert run_main(monkeypatch, "-m", *words) == 0
    left, said = everything(quiet_home / "outputs"), "".join(capfd.readouterr())
    for secret in (TOKEN, PASSWORD):
        assert secret not in left and secret not in said
    records = [
        json.loads(line)
        for file in quiet_home.glob("outputs/*/records.jsonl")
        for line in file.read_text().splitlines()
    ]
    texts = {
        int(i): text
        for file in quiet_home.glob("outputs/*/tokens.json")
        for i, text in json.loads(file.read_text()).items()
    }
    assert len(records) == 4 and sum(REMOVED in record["question"] for record in records) == 2
    for record in records:
        for holder in (record, record["proposal"]):
            assert TOKEN[4:] not in "".join(texts[i] for i in holder["ids"])
    report = next(quiet_home.glob("outputs/studies/t/front/report.html"))
    assert "How many pens are 2 + 2?" in everything(report.parent)


def test_a_failure_is_kept_without_secrets(questions, quiet_home, monkeypatch, capfd):
    def broken(*_):
        raise RuntimeError(f"no access with {TOKEN}")

    monkeypatch.setattr("warmexp.runs.run._decode_all", broken)
    assert run_main(monkeypatch, "-m", "task.limit=1", "study.name=t", "seed=0,1") == 1
    assert TOKEN not in everything(quiet_home / "outputs") + "".join(capfd.readouterr())
    assert "no access with" in everything(quiet_home / "outputs")


def test_a_defect_is_shown_without_secrets(quiet_home, monkeypatch, capfd):
    def broken(*_):
        raise RuntimeError(f"no access with {TOKEN}")

    monkeypatch.setattr("warmexp.runs.run._decode_all", broken)
    assert run_main(monkeypatch, "task.limit=1") == 1
    said = capfd.readouterr().err
    assert TOKEN not in said and "no access with" in said and "Traceback" in said


def test_a_mistake_is_told_without_secrets(quiet_home, monkeypatch, capfd):
    assert run_main(monkeypatch, f"task.path=/nowhere/{TOKEN}", "task=jsonl") == 2
    said = capfd.readouterr().err
    assert TOKEN not in said and "/nowhere/" in said


def test_an_id_that_looks_like_a_secret_is_refused(quiet_home, monkeypatch, capfd):
    file = quiet_home / "q.jsonl"
    file.write_text(json.dumps({"id": TOKEN, "question": "1 + 1?", "answer": "#### 2"}) + "\n")
    assert run_main(monkeypatch, "task=jsonl", f"task.path={file}") == 2
    said = capfd.readouterr().err
    assert "the id of question 1" in said and TOKEN not in said


def test_a_proposal_with_a_secret_is_not_kept_in_the_store(tmp_path):
    from warmexp.proposers.proposal import Asked, Proposal
    from warmexp.proposers.store import proposals_for

    class Proposer:
        stored = True

        def identity(self):
            return {"kind": "test"}

        def propose(self, questions, device, seed, progress):
            for q in questions:
                yield q.id, Proposal(f"{TOKEN} #### 4" if q.id == "a" else "#### 4")

    asked = [Asked("a", "one?", "", "one?", ()), Asked("b", "two?", "", "two?", ())]
    for _ in range(2):
        found = proposals_for(Proposer(), asked, tmp_path, "cpu", 0, lambda *_: None)
        assert found["a"].text == f"{TOKEN} #### 4"  # the same the second time: it was made again
    assert TOKEN not in everything(tmp_path) and "#### 4" in everything(tmp_path)


def test_tokens_that_spell_a_secret_become_masks():
    class Letters:
        mask_id = 0

        def piece(self, i):
            return "[M]" if i == 0 else chr(i)

        def decode(self, ids):
            return "".join(map(self.piece, ids))

    ids = [ord(c) for c in f"a {TOKEN} b"]
    revoked = [[3, 0, ids[0], "decoded", 1], [3, 5, ids[5], "decoded", 1]]
    record = {
        "question": "",
        "target": "",
        "response": f"a {TOKEN} b",
        "proposal": None,
        "ids": ids,
        "revocations": revoked,
    }
    clean = without_a_secret(record, Letters())
    assert [i for i in clean["ids"] if i] == [ord(c) for c in "a  b"] and len(clean["ids"]) == len(ids)
    assert clean["revocations"] == [[3, 0, ids[0], "decoded", 1], [3, 5, 0, "decoded", 1]]
    assert clean["response"] == f"a {REMOVED} b"
    plain = {**record, "ids": ids[:2], "revocations": []}
    assert without_a_secret(plain, Letters())["ids"] == ids[:2]


@pytest.mark.pictures
def test_the_pictures_of_a_run_say_nothing_but_their_maker(quiet_home):
    from PIL import Image

    from warmexp.api import run_overrides

    _, folder = run_overrides(["task.limit=2", f"outputs={quiet_home}"])
    with Image.open(folder / "figures" / "nfe.png") as image:
        assert set(image.info) <= {"Software", "dpi"}
