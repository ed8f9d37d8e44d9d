"""Files that are read line by line: what is no text never becomes one, and every other line is one sentence with its
number."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from warmexp.errors import UserError
from warmexp.io import append_lines, read_lines
from warmexp.jsonl import DEEPEST
from warmexp.proposers.file import FileProposer
from warmexp.proposers.proposal import Asked, Proposal
from warmexp.proposers.store import proposals_for
from warmexp.tasks.gsm8k import GSM8K
from warmexp.tasks.jsonl import JsonlTask
from warmexp.tasks.math500 import Math500

GOOD = {
    "task": b'{"question": "3 and 4?", "answer": "#### 7"}',
    "gsm8k": b'{"question": "3 and 4?", "answer": "#### 7"}',
    "math500": b'{"problem": "3 and 4?", "answer": "7"}',
    "proposals": b'{"id": "a", "text": " 7"}',
}


def read(kind: str, file: Path) -> list:
    """A file through the reader of that kind."""
    if kind == "task":
        return JsonlTask(path=str(file)).load()
    if kind == "gsm8k":
        return GSM8K(path=str(file), num_fewshot=0).load()
    return Math500(path=str(file)).load() if kind == "math500" else list(FileProposer(str(file)).proposals.items())


def said(kind: str, file: Path) -> str:
    with pytest.raises(UserError) as error:
        read(kind, file)
    sentence = str(error.value)
    assert "\n" not in sentence and str(file) in sentence, sentence
    sentence.encode()
    return sentence


DAMAGED = {
    "no JSON": (b'{"question": "x", ', "line 2 is not JSON"),
    "a list": (b"[]", "line 2 is a list, not an object"),
    "a number": (b"7", "line 2 is 7, not an object"),
    "null": (b"null", "line 2 is null, not an object"),
    "Latin-1": (b'{"question": "Jos\xed", "answer": "7"}', "line 2 is not UTF-8 text (byte 0xed)"),
    "UTF-16": ('{"question": "x"}'.encode("utf-16"), "line 2 is not UTF-8 text (byte 0xff)"),
    "half a pair": (rb'{"question": "Tom \ud83d", "answer": "7"}', "line 2 holds half of a surrogate pair"),
    "half a pair in a name": (rb'{"\udc00": "x"}', "line 2 holds half of a surrogate pair"),
    "NaN": (b'{"question": NaN, "answer": "7"}', "line 2 holds NaN"),
    "infinite": (b'{"question": "x", "answer": -Infinity}', "line 2 holds -Infinity"),
    "a name twice": (b'{"question": "x", "answer": "7", "answer": "8"}', 'line 2 has the name "answer" twice'),
    "deep": (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", f"line 2 is nested more than {DEEPEST} deep"),
    "a bit too deep": (
        b'{"a": ' + b"[" * DEEPEST + b"]" * DEEPEST + b"}",
        f"line 2 is nested more than {DEEPEST} deep",
    ),
    "a long number": (b'{"a": ' + b"7" * 5000 + b"}", "line 2 holds a number of too many digits"),
    "zeros": (b"\0" * 9, "line 2 is not JSON"),
}


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_line_is_one_sentence(tmp_path, kind, what):
    line, expected = DAMAGED[what]
    file = tmp_path / "file.jsonl"
    file.write_bytes(GOOD[kind] + b"\n" + line + b"\n")
    assert expected in said(kind, file)


NO_TEXT = {
    "null": "null",
    "true": "true",
    "3.5": "3.5",
    "[1]": "a list",
    "{}": "an object",
    "1e300": "1e+300",
    "9007199254740993.0": "9007199254740992.0",
}


@pytest.mark.parametrize("value", NO_TEXT)
@pytest.mark.parametrize(
    ("kind", "field"),
    [("task", "question"), ("task", "answer"), ("task", "id"), ("gsm8k", "question"), ("gsm8k", "answer"), ("math500", "problem"),
     ("math500", "answer"), ("proposals", "id"), ("proposals", "text")],
)  # fmt: skip
def test_what_is_no_text_is_refused(tmp_path, kind, field, value):
    file = tmp_path / "file.jsonl"
    row = {**json.loads(GOOD[kind]), "id": "b"}
    rest = ", ".join(f'"{name}": {json.dumps(other)}' for name, other in row.items() if name != field)
    file.write_bytes(GOOD[kind] + f'\n\n{{"{field}": {value}, {rest}}}\n'.encode())
    sentence = said(kind, file)
    assert f'line 3: "{field}" is {NO_TEXT[value]}' in sentence and "no text" in sentence


def test_a_whole_number_is_a_text_however_it_is_written(tmp_path):
    file = tmp_path / "file.jsonl"
    file.write_text(
        '{"question": 1, "answer": 7, "id": 3}\n{"question": 2.0, "answer": 7.0}\n{"question": "q", "answer": -0.0}'
    )
    assert [(q.id, q.question, q.target) for q in read("task", file)] == [
        ("3", "1", "7"),
        ("jsonl-00001", "2", "7"),
        ("jsonl-00002", "q", "0"),
    ]
    file.write_text('{"id": 7.0, "text": 12}\n')
    assert read("proposals", file) == [("7", Proposal("12"))]


@pytest.mark.parametrize("kind", GOOD)
def test_only_a_newline_ends_a_line(tmp_path, kind):
    """A byte order mark, other separators inside a text, carriage returns, blank lines and a missing last newline are
    all right."""
    file = tmp_path / "file.jsonl"
    name = {"math500": "problem", "proposals": "text"}.get(kind, "question")
    text = "3 + 4\u2028so\u0085 7\x0b.\x1c \U0001f600"
    row = json.dumps({**json.loads(GOOD[kind]), name: text}, ensure_ascii=False)
    other = json.dumps({**json.loads(GOOD[kind]), "id": "b", name: "\U0001f600"})  # a whole pair of surrogates
    file.write_bytes(b"\xef\xbb\xbf" + row.encode() + b"\r\n \r\n\n\xef\xbb\xbf" + other.encode())
    found = read(kind, file)
    texts = [p.text for _, p in found] if kind == "proposals" else [q.question for q in found]
    assert texts == [text, "\U0001f600"]


def test_an_id_counts_once(tmp_path):
    file = tmp_path / "file.jsonl"
    file.write_text('{"id": "a", "text": "first"}\n{"id": "b", "text": "x"}\n{"id": "a", "text": "second"}\n')
    assert 'line 3 has the id "a", as line 1 does' in said("proposals", file)
    file.write_text('{"id": 7, "text": "first"}\n{"id": "7", "text": "first"}\n')
    assert 'line 2 has the id "7", as line 1 does' in said("proposals", file)
    file.write_text('{"question": "q", "answer": "7", "id": "jsonl-00001"}\n{"question": "q", "answer": "7"}\n')
    assert 'line 2 has the id "jsonl-00001", as line 1 does' in said("task", file)


def test_a_hundred_thousand_ids(tmp_path):
    """The check of a whole file takes no longer for each line when there are more of them (it took minutes)."""
    file = tmp_path / "file.jsonl"
    file.write_text(
        "".join(f'{{"question": "q", "answer": "7", "id": "{i}"}}\n' for i in range(100_000))
        + '{"question": 1, "answer": 1, "id": "99999"}'
    )
    assert 'line 100001 has the id "99999", as line 100000 does' in said("task", file)
    names = ", ".join(f'"{i}": 0' for i in range(100_000))
    file.write_text(f'{{{names}, "99999": 1}}\n')
    assert 'line 1 has the name "99999" twice' in said("task", file)


@pytest.mark.parametrize("kind", ["task", "math500", "proposals"])
def test_what_is_no_file(tmp_path, kind):
    """A pipe would wait for ever, a device would never end."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place in (pipe, Path("/dev/zero"), tmp_path):
        assert "cannot be read (it is not a regular file)" in said(kind, place)


def test_a_line_without_an_end(tmp_path):
    file = tmp_path / "file.jsonl"
    with file.open("wb") as handle:
        handle.truncate(1 << 33)  # takes no space
    started = time.monotonic()
    assert "line 1 is longer than 64 MiB" in said("proposals", file)
    assert time.monotonic() - started < 60, "not all of it is read"


WRONG_NUMBERS = [
    {"tokens": [["0", 2, -1]]}, {"tokens": [[0.5, 2, -1]]}, {"tokens": [[0, True, -1]]}, {"tokens": [[0, 2, "x"]]}, {"tokens": 3},
    {"tokens": {"a": 1}}, {"tokens": [[0, 2, -1, 4]]}, {"tokens": ["abc"]}, {"end": True}, {"end": [1]}, {"seconds": "1"}, {"seconds": -1},
    {"end": 10**400},
]  # fmt: skip


@pytest.mark.parametrize("more", WRONG_NUMBERS)
def test_numbers_of_a_proposal(tmp_path, more):
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps({"id": "q1", "text": "five", **more}) + "\n")
    assert "line 1" in said("proposals", file)


class Author:
    stored, tail = True, "mask"

    def identity(self):
        return {"kind": "test"}

    def propose(self, questions, device, seed, progress):
        return ((q.id, Proposal(" 7")) for q in questions)


@pytest.mark.parametrize(
    "damage",
    [
        b"[]\n",
        b"nonsense\n",
        b'{"prompt_sha256": "x"}\n',
        b'{"prompt_sha256": null, "text": " 8"}\n',
        b'{"prompt_sha256": "x", "text": null}\n',
        b'{"prompt_sha256": "x", "text": " 8", "seconds": NaN}\n',
        b'{"prompt_sha256": "x", "text": "8"}\n{"prompt_sha256": "x", "text": "9"}\n',
    ],
)
def test_a_damaged_store_is_one_sentence(tmp_path, damage):
    asked = [Asked("q", "3 and 4?", "")]
    first = proposals_for(Author(), asked, tmp_path, "cpu", 0, None)
    (file,) = tmp_path.glob("*.jsonl")
    good = file.read_bytes()
    file.write_bytes(good + damage + good.replace(b'prompt_sha256":"', b'prompt_sha256":"f'))
    with pytest.raises(UserError, match=rf"{file.name}, line [23]"):
        proposals_for(Author(), asked, tmp_path, "cpu", 0, None)
    file.write_bytes(good)
    assert proposals_for(Author(), asked, tmp_path, "cpu", 0, None) == first


def test_records_are_read_by_the_same_rules(tmp_path):
    file = tmp_path / "records.jsonl"
    append_lines(file, [{"id": 1}, {"id": 2}])
    for torn in (b'{"id": 3', b"[]\n", b"\0\0\0\n", b'{"id": NaN}\n'):
        whole = file.read_bytes()
        file.write_bytes(whole + torn)
        assert read_lines(file) == [{"id": 1}, {"id": 2}]
        file.write_bytes(torn + b"\n" + whole)
        with pytest.raises(UserError, match=r"line 1 is damaged \(it .*\): remove that line"):
            read_lines(file)
        file.write_bytes(whole)
    assert read_lines(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize(
    ("kind", "field"), [("task", "answer"), ("task", "question"), ("gsm8k", "answer"), ("math500", "answer")]
)
@pytest.mark.parametrize("blank", ["", "  ", "\n"])
def test_a_blank_question_or_answer_is_refused(tmp_path, kind, field, blank):
    """No response meets an answer that is not there: it counted as wrong, without a word."""
    file = tmp_path / "file.jsonl"
    row = json.loads(GOOD[kind])
    file.write_text(json.dumps({**row, field: blank}) + "\n")
    assert f'line 1: "{field}" is empty' in said(kind, file)
