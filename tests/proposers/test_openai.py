"""Proposals from an OpenAI-compatible server: what is asked, what is made of the answer, and every way it can fail."""

from __future__ import annotations

import json
import logging
import math
import socket
import threading
import time
from email.utils import formatdate

import pytest

from tests.proposers.fake_server import Fake, completion, fake, prompt_of
from warmexp.errors import UserError
from warmexp.proposers import server as module
from warmexp.proposers.openai import OpenAIProposer
from warmexp.proposers.proposal import Asked, Proposal
from warmexp.proposers.store import proposals_for

KEY = "sk-test-3n0ughD1g1ts4aKey"


@pytest.fixture
def server(monkeypatch, quiet_home):
    monkeypatch.setattr(module, "_FIRST_WAIT", 0.01)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with fake() as told:
        yield told


def made(server: Fake | str, **options) -> OpenAIProposer:
    address = server if isinstance(server, str) else server.address
    proposer = OpenAIProposer(address, "tiny", **{"retries": 3, **options})
    proposer.say = lambda sentence: said_by(proposer).append(sentence)
    return proposer


def said_by(proposer: OpenAIProposer) -> list[str]:
    return proposer.__dict__.setdefault("_said", [])


def questions(n: int) -> list[Asked]:
    return [Asked(f"q{i}", f"{i} and 1?", "") for i in range(n)]


def proposed(proposer: OpenAIProposer, n: int = 1) -> dict[str, Proposal]:
    return dict(proposer.propose(questions(n), "cpu", 0, lambda *_: None))


def failing(proposer: OpenAIProposer, n: int = 1) -> str:
    with pytest.raises(UserError) as error:
        proposed(proposer, n)
    sentence = str(error.value)
    assert "\n" not in sentence and sentence.endswith("the same command goes on from it.") and KEY not in sentence
    return sentence


def test_what_is_asked(server):
    proposer = made(
        server, prompt="Say: {prompt}", stop=["a", "b", "c", "d", "e"], body={"top_k": 1, "temperature": None}
    )
    assert proposed(proposer)["q0"].text == "S"  # cut at a stop string also where the server ignores them
    path, headers, body = server.requests[0]
    assert path == "/v1/chat/completions" and "Authorization" not in headers
    assert body == {
        "model": "tiny", "messages": [{"role": "user", "content": "Say: 0 and 1?"}], "max_tokens": 256,
        "stop": ["a", "b", "c", "d"], "logprobs": True, "top_k": 1,
    }  # fmt: skip
    assert proposed(made(server, api="completions", logprobs=False))["q0"].text == "0 and 1?!"
    path, _, body = server.requests[1]
    assert (
        path == "/v1/completions"
        and body["prompt"] == "0 and 1?"
        and body["temperature"] == 0
        and "logprobs" not in body
    )


def test_a_conversation_is_as_many_messages(server):
    asked = Asked("q", "a b c", "", turns=("a", "b", "c"))
    list(made(server, prompt="<{prompt}>").propose([asked], "cpu", 0, lambda *_: None))
    assert [(m["role"], m["content"]) for m in server.requests[0][2]["messages"]] == [
        ("user", "<a>"), ("assistant", "b"), ("user", "<c>"),
    ]  # fmt: skip


def test_several_at_once_and_no_more(server):
    server.act = lambda number, body: 0.1
    found = proposed(made(server, concurrency=3), 9)
    assert {i: p.text for i, p in found.items()} == {f"q{i}": f"{i} and 1?!" for i in range(9)}
    assert server.most_at_once == 3
    assert all(p.seconds > 0 for p in found.values())


def test_shares_of_time_add_up(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    clock = module._Shares()
    a = clock.enter()
    now[0] = 2.0
    b = clock.enter()
    now[0] = 6.0
    assert clock.leave(a) == 2 + 2 and clock.leave(b) == 2
    now[0] = 9.0
    c = clock.enter()
    now[0] = 10.0
    assert clock.leave(c) == 1


RETRIED = {
    "500": 500,
    "502 with a page": b"<html>bad gateway</html>",
    "429": 429,
    "429 with Retry-After": (429, {"Retry-After": "0.05"}, {}),
    "503 with a date": (503, {"Retry-After": formatdate(0, usegmt=True)}, {}),
    "503 with nonsense": (503, {"Retry-After": "soon"}, {"error": None}),
    "a reset in the middle": "reset",
    "no answer": "hang up",
    "no JSON": b"\xff\x00 hello",
    "nothing": b"",
    "another's JSON": b"[1, 2]",
    "no choices": b'{"choices": []}',
    "no text": b'{"choices": [{"message": {"content": 7}}]}',
    "half of a character": b'{"choices": [{"message": {"content": "\\ud800"}}]}',
    "an error that says 200": b'{"error": {"message": "busy"}}',
    "deep": b'{"choices": ' + b"[" * 100000,
    "slow": 5.0,
}


@pytest.mark.parametrize("fault", RETRIED)
def test_a_fault_is_tried_again(server, fault):
    server.act = lambda number, body: RETRIED[fault] if number <= 2 else None
    assert proposed(made(server, timeout=0.5))["q0"].text == "0 and 1?!"
    assert len(server.requests) == 3


@pytest.mark.parametrize("fault", [name for name in RETRIED if name not in ("slow", "502 with a page")])
def test_a_fault_that_stays_is_one_sentence(server, fault):
    server.act = lambda number, body: RETRIED[fault]
    sentence = failing(made(server, retries=2))
    assert sentence.startswith(f"proposer.base_url={server.address} ") and "the last of 3 tries" in sentence
    assert len(server.requests) == 3


def test_a_slow_server_is_one_sentence(server):
    server.act = lambda number, body: 5.0
    assert "did not answer within proposer.timeout=0.2 seconds" in failing(made(server, timeout=0.2, retries=1))
    assert server.at_once == 2, "said while the server still thinks about both"


def test_a_server_that_drips_has_no_longer(server):
    """The limit is for an answer, not for a read: a byte now and then does not extend it."""
    stop = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
                while not stop:
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        return
                    time.sleep(0.02)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        assert "did not answer within" in failing(made(address, timeout=0.3, retries=0))
        stop.append(1)
        thread.join(5)


def test_a_dead_server_is_said_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sentence = failing(made(f"http://127.0.0.1:{port}/v1", retries=50), 20)
    assert "cannot be reached" in sentence and "see whether it runs, and check proposer.base_url" in sentence
    assert "the last of 2 tries" in sentence


REFUSED = {
    400: "check proposer.model, proposer.max_new_tokens and proposer.body",
    401: "no key was sent: set OPENAI_API_KEY, and OPENAI_BASE_URL",
    404: "with most servers it ends in /v1",
    307: "set proposer.base_url to where it points (http://elsewhere/v1)",
}


@pytest.mark.parametrize("status", REFUSED)
def test_what_repeating_does_not_change_is_not_repeated(server, status):
    server.act = lambda number, body: (status, {"Location": "http://elsewhere/v1"}, {"detail": "this\nis why"})
    sentence = failing(made(server, concurrency=1), 5)
    assert f"answers {status} (this is why)" in sentence and REFUSED[status] in sentence and "q0" in sentence
    assert len(server.requests) == 1


def test_a_long_pause_is_not_waited_for(server):
    server.act = lambda number, body: (429, {"Retry-After": "86400"}, {})
    assert "asks to wait 86400 seconds, more than proposer.timeout" in failing(made(server))


def test_a_pause_is_for_all(server, monkeypatch):
    """While the server has asked for a pause, nobody else is sent either."""
    import anyio

    slept, sleep = [], anyio.sleep

    async def spy(seconds):
        slept.append((len(server.requests), seconds))
        await sleep(seconds)

    monkeypatch.setattr(anyio, "sleep", spy)
    server.act = lambda number, body: (429, {"Retry-After": "0.4"}, {}) if number == 1 else None
    assert len(proposed(made(server, concurrency=1), 3)) == 3
    assert len(server.requests) == 4
    assert {sent for sent, _ in slept} == {1} and max(seconds for _, seconds in slept) > 0.3


def test_nothing_is_lost_and_nothing_asked_twice(server, tmp_path):
    """The server dies after some answers; the next command asks for the rest alone."""
    answered = []

    def act(number, body):
        if number > 4:
            return 500
        answered.append(prompt_of(body))
        return None

    server.act = act
    asked = questions(8)
    proposer = made(server, concurrency=2, retries=1)
    with pytest.raises(UserError, match="what was proposed so far is kept"):
        proposals_for(proposer, asked, tmp_path, "cpu", 0, lambda *_: None)
    (file,) = tmp_path.glob("*.jsonl")
    assert len(file.read_text().splitlines()) == 4
    server.requests.clear()
    server.act = lambda number, body: None
    found = proposals_for(made(server), asked, tmp_path, "cpu", 0, lambda *_: None)
    assert {q.id: found[q.id].text for q in asked} == {q.id: f"{q.prompt}!" for q in asked}
    assert sorted(prompt_of(body) for *_, body in server.requests) == sorted({q.prompt for q in asked} - {*answered})
    server.requests.clear()
    proposals_for(made(server), asked, tmp_path, "cpu", 0, lambda *_: None)
    assert not server.requests


def test_an_interruption_ends_at_once(server, tmp_path):
    """Ctrl-C while the server thinks: nothing waits for it."""
    server.act = lambda number, body: None if number == 1 else 30.0
    asked = questions(4)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        proposals_for(made(server, timeout=60), asked, tmp_path, "cpu", 0, stop)
    assert server.at_once > 0, "the server still thinks about the others"


def test_the_budget_counts_every_request(server, tmp_path):
    with pytest.raises(UserError, match=r"proposer\.budget=4 is less than the 5 proposals"):
        proposals_for(made(server, budget=4), questions(5), tmp_path, "cpu", 0, lambda *_: None)
    assert not server.requests
    server.act = lambda number, body: 500 if number <= 3 else None
    with pytest.raises(UserError, match=r"proposer\.budget=5 requests are spent: raise it; what was proposed so far"):
        proposals_for(made(server, budget=5, concurrency=1), questions(5), tmp_path, "cpu", 0, lambda *_: None)
    assert len(server.requests) == 5
    assert len(proposals_for(made(server, budget=3), questions(5), tmp_path, "cpu", 0, lambda *_: None)) == 5
    assert len(server.requests) == 8


def content(*tokens: tuple[str, float], **more) -> dict:
    return {"content": [{"token": t, "logprob": p, "bytes": list(t.encode()), **more} for t, p in tokens]}


END = ("<|im_end|>", -0.125)
LAID = {
    "an end token": (" 3+4", content((" 3", -1), ("+", -2), ("4", -3), END), ((0, 2, -1), (2, 3, -2), (3, 4, -3)), -0.125),
    "no end token": ("3+4", content(("3", -1), ("+4", -2)), ((0, 1, -1), (1, 3, -2)), None),
    "the legacy form": ("3+4", {"tokens": ["3", "+4"], "token_logprobs": [-1, -2], "text_offset": [0, 1]}, ((0, 1, -1), (1, 3, -2)), None),
    "white space was cut off": ("3 4", content((" ", -1), (" 3", -2), (" 4\n", -3), ("\n", -4), END), ((0, 1, -2), (1, 3, -3)), -0.125),
    "first spaces are lost": ("Tom has 5", content(("Tom", -1), ("has", -2), ("5", -3)), ((0, 3, -1), (3, 7, -2), (7, 9, -3)), None),
    "bytes of a character": (
        "é4", {"content": [{"token": "\\xc3", "logprob": -1, "bytes": [195]}, {"token": "\\xa9", "logprob": -2, "bytes": [169]},
                           {"token": "4", "logprob": -3, "bytes": [52]}]}, ((0, 1, -1), (0, 1, -2), (1, 2, -3)), None),
    "bytes that are not told": ("a😀b", content(("a", -1), ("\ufffd", -2), ("\ufffd", -3), ("b", -4), END), ((0, 1, -1), (1, 2, -2), (1, 2, -3), (2, 3, -4)), -0.125),
    "untold at the end": ("a😀", content(("a", -1), ("\ufffd", -2), ("\ufffd", -3), ("", -4)), ((0, 1, -1), (1, 2, -2), (1, 2, -3)), -4),
    "the end in two tokens": ("3", content(("3", -1), ("<|a|>", -2), ("<|b|>", -3)), ((0, 1, -1),), None),
    "a bit above one": ("3", content(("3", 1e-9), END), ((0, 1, 0.0),), -0.125),
    "other words": ("3+4", content(("5", -1), ("+4", -2)), (), None),
    "too few": ("3+4", content(("3", -1)), (), None),
    "minus infinity": ("3", content(("3", -math.inf)), (), None),
    "no number": ("3", {"content": [{"token": "3", "logprob": None}]}, (), None),
    "a list": ("3", [1], (), None),
    "none": ("3", None, (), None),
}  # fmt: skip


@pytest.mark.parametrize("how", LAID)
@pytest.mark.parametrize("api", ["chat", "completions"])
def test_log_probabilities_are_laid_over_the_text(server, how, api):
    text, logprobs, tokens, end = LAID[how]
    server.reply = lambda body: completion(body, text, logprobs)
    proposer = made(server, api=api)
    found = proposed(proposer)["q0"]
    assert (found.text, found.tokens, found.end) == (text, tokens, end)
    told = " ".join(said_by(proposer))
    assert ("trust 1.0" in told) == (not tokens)
    found.from_row(module_row(found))  # the store can read it again


def module_row(proposal: Proposal):
    from warmexp.jsonl import Row

    return Row(json.loads(json.dumps(proposal.to_json())), "here")


def test_a_stop_string_is_not_the_models_end(server):
    server.reply = lambda body: completion(body, "3\n", content(("3", -1), ("\n", -2), ("Question:", -3)))
    assert proposed(made(server))["q0"].end is None
    server.reply = lambda body: completion(body, "3\nQuestion: 4", content(("3", -1), ("\nQuestion:", -2), (" 4", -3)))
    found = proposed(made(server))["q0"]
    assert (found.text, found.tokens, found.end) == ("3\n", ((0, 1, -1.0), (1, 2, -2.0)), None)


def test_a_limit_is_not_the_models_end(server):
    server.reply = lambda body: completion(body, "3", content(("3", -1), END), finish="length")
    assert proposed(made(server))["q0"].end is None


def test_a_server_without_log_probabilities_is_asked_without(server):
    server.act = lambda number, body: (
        (400, {}, {"error": {"message": "logprobs is not supported"}}) if "logprobs" in body else None
    )
    proposer = made(server, concurrency=1)
    assert len(proposed(proposer, 3)) == 3 and len(server.requests) == 4
    assert said_by(proposer) == [
        "proposer: the server gave no log-probabilities for 3 proposals: they are taken at their word (trust 1.0)."
    ]
    quiet = made(server, logprobs=False)
    proposed(quiet)
    assert said_by(quiet) == []


def test_thoughts_are_no_answer(server):
    server.reply = lambda body: completion(body, "<think>a</think>\n7<|im_end|>")
    proposer = made(server, logprobs=False)
    assert proposed(proposer)["q0"].text == "7" and "taken out of 1 proposals" in said_by(proposer)[0]
    server.reply = lambda body: completion(body, None, finish="length", reasoning_content="well,")
    proposer = made(server, logprobs=False)
    assert proposed(proposer)["q0"].text == "" and "raise proposer.max_new_tokens" in said_by(proposer)[0]


def test_another_models_name_is_said(server):
    server.reply = lambda body: completion(body, "7") | {"model": f"large {KEY}"}
    proposer = made(server, logprobs=False)
    proposed(proposer)
    assert said_by(proposer) == ["proposer: asked for tiny, the server answered as large (removed: a secret)."]


def test_the_key_goes_to_its_server_alone(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    proposed(made(server))
    assert "Authorization" not in server.requests[-1][1]
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    proposed(made(server))
    assert "Authorization" not in server.requests[-1][1]
    monkeypatch.setenv("OPENAI_BASE_URL", server.address)
    proposed(made(server))
    assert server.requests[-1][1]["Authorization"] == f"Bearer {KEY}"
    server.act = lambda number, body: (401, {}, {"error": {"message": f"bad key {KEY}"}})
    assert "check the key in OPENAI_API_KEY" in failing(made(server))
    monkeypatch.setenv("OPENAI_API_KEY", "two words\nmore")
    with pytest.raises(UserError, match="OPENAI_API_KEY holds characters") as error:
        proposed(made(server))
    assert "words" not in str(error.value)


def test_the_identity_is_what_was_asked_of_whom():
    def of(url="http://host:8000/v1", **options):
        return OpenAIProposer(url, **{"model": "m", **options}).identity()

    assert of()["server"] == "host:8000" and of(server="cluster")["server"] == "cluster"
    assert of() == of("https://HOST:8000/other/v1/") == of(concurrency=1, retries=0, timeout=1.0, budget=9)
    assert of(server="a") == of("http://elsewhere:1/v1", server="a")
    changes = [
        {"model": "n"}, {"url": "http://host:8001/v1"}, {"api": "completions"}, {"prompt": "Q: {prompt}"}, {"stop": []},
        {"max_new_tokens": 9}, {"logprobs": False}, {"body": {"top_k": 1}}, {"server": "x"},
    ]  # fmt: skip
    found = [json.dumps(of(**change), sort_keys=True) for change in [{}, *changes]]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"base_url": "localhost:8000"}, r"proposer\.base_url=localhost:8000 is no address"),
        ({"base_url": "http://host:x/v1"}, "is no address"),
        ({"base_url": f"http://me:{KEY}@host/v1"}, "has a user, a password or a query"),
        ({"base_url": f"http://host/v1?api_key={KEY}"}, "has a user, a password or a query"),
        ({"model": " "}, r"proposer\.model is empty"),
        ({"model": KEY}, "looks like a secret"),
        ({"api": "responses"}, r"proposer\.api=responses is not one of chat, completions"),
        ({"prompt": "x"}, "exactly once"),
        ({"body": {"model": "n"}}, r"proposer\.body has model"),
        ({"timeout": 0}, r"proposer\.timeout=0"),
        ({"budget": 0}, r"proposer\.budget=0"),
        ({"concurrency": 0}, r"proposer\.concurrency=0"),
        ({"retries": -1}, r"proposer\.retries=-1"),
        ({"max_new_tokens": True}, r"proposer\.max_new_tokens=True"),
    ],
)
def test_mistakes_are_one_sentence_before_anything_is_sent(options, said):
    with pytest.raises(UserError, match=said) as error:
        OpenAIProposer(**{"base_url": "http://h/v1", "model": "m", **options})
    assert KEY not in str(error.value)


def test_a_whole_run_and_no_key_anywhere(server, checkpoint, monkeypatch, caplog, capfd):
    """From the command line's words to records, with a key that the server echoes."""
    from warmexp.api import planned
    from warmexp.io import read_lines
    from warmexp.runs.run import run

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.address)
    server.reply = lambda body: completion(body, " 7", content((" 7", -0.5), END)) | {"model": f"tiny {KEY}"}
    words = [
        "init=token_inject", "proposer=openai", "proposer.model=tiny", "task.limit=3", "device=cpu", "backbone=checkpoint",
        f"backbone.path={checkpoint}", "backbone.dtype=float32", "length.canvas_length=8", "length.block_length=8", "tau=0.5",
    ]  # fmt: skip
    plan = planned([*words, "outputs=outputs"])
    said: list[str] = []
    with caplog.at_level(logging.INFO):
        run(plan, said.append)
    assert server.requests[0][1]["Authorization"] == f"Bearer {KEY}"
    records = list(read_lines(plan.folder / "records.jsonl"))
    assert [r["proposal"]["text"].strip() for r in records] == ["7"] * 3 and plan.run_id.startswith(
        "lab-token_inject-openai-"
    )
    assert records[0]["proposal"]["trust"] is not None
    written = [file for file in plan.outputs.rglob("*") if file.is_file()]
    assert written and not any(KEY.encode() in file.read_bytes() for file in written)
    shown = "".join(capfd.readouterr()) + caplog.text + "".join(said)
    assert KEY not in shown and "HTTP Request" not in shown
    sent = len(server.requests)
    run(planned([*words, "outputs=outputs", "tau=0.6"]), said.append)
    assert len(server.requests) == sent


def test_the_address_must_be_given(server):
    from warmexp.api import planned

    with pytest.raises(UserError, match=r"proposer\.base_url must be given"):
        planned(["init=token_inject", "proposer=openai", "proposer.model=tiny", "task.limit=1"])
