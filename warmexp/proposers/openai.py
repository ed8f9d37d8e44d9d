"""Any OpenAI-compatible server as a proposer: vLLM, SGLang, llama.cpp, `transformers serve`, Ollama, or a service."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from warmexp.errors import UserError, check_choice, check_range
from warmexp.proposers.answer import Answer, proposal_of, read_answer
from warmexp.proposers.markup import cleaned, tell_cleaned
from warmexp.proposers.proposal import TAILS, Asked, Proposal, Proposer
from warmexp.proposers.server import Refused, Server, Stopped
from warmexp.secrets import clean_text, is_secret

APIS = ("chat", "completions")
_PUBLIC = "https://api.openai.com/v1"  # where OPENAI_API_KEY goes if OPENAI_BASE_URL is not set, as in the clients
_VERSION = 1  # raised when the same answer becomes another proposal
_OWN = ("model", "messages", "prompt", "stream", "n", "best_of", "stop", "logprobs", "echo", "tools")
_MOST_STOPS = 4  # that the interface takes; the others are cut here


@dataclass
class OpenAIProposer(Proposer):
    """One request per question, greedy; several under way at once.

    base_url: of the server, usually ending in /v1. model: as the server calls it. server: its name in a run's identity;
    None: host and port of base_url. Give a name where the address changes and the model behind it does not.
    api: `chat` (one user turn, the server's own template; a prompt of several turns becomes as many messages) or
    `completions` (the bare prompt, for base models). prompt: text around the task's prompt, "{prompt}". stop: strings
    that end the response, cut off. max_new_tokens: of a response. logprobs: ask for log-probabilities; where a server
    gives none, proposals have trust 1.0. body: more fields of the request, such as {top_k: 1}; one that is None is
    left out.
    concurrency: requests under way at once. retries: how often a request that failed is sent again. timeout: seconds
    for an answer, and the longest pause that a server may ask for. budget: the most requests, retries included, that
    one job may send; None: no limit. tail: see proposal.py.

    The key is no setting. OPENAI_API_KEY is sent to the server that OPENAI_BASE_URL names (without it, to OpenAI's) and
    to no other, so that a configuration from elsewhere cannot send it away.

    The identity holds what was asked for and of whom. What weights a server keeps behind a model's name cannot be known
    from here.
    """

    base_url: str
    model: str
    server: str | None = None
    api: str = "chat"
    prompt: str = "{prompt}"
    stop: list[str] = field(default_factory=lambda: ["Question:"])
    max_new_tokens: int = 256
    logprobs: bool = True
    body: dict[str, Any] | None = None
    concurrency: int = 8
    retries: int = 6
    timeout: float = 300.0
    budget: int | None = None
    tail: str = "mask"
    stored = True

    def __post_init__(self) -> None:
        check_choice("proposer.api", self.api, APIS)
        check_choice("proposer.tail", self.tail, TAILS)
        check_range("proposer.max_new_tokens", self.max_new_tokens, 1, 2**17, "the number of tokens of a proposal")
        check_range("proposer.concurrency", self.concurrency, 1, 1024, "the number of requests under way at once")
        check_range("proposer.retries", self.retries, 0, 100, "how often a request that failed is sent again")
        check_range("proposer.timeout", self.timeout, 0, 86400, "seconds for an answer", open_low=True)
        if self.budget is not None:
            check_range("proposer.budget", self.budget, 1, 2**31, "the most requests that may be sent")
        if self.prompt.count("{prompt}") != 1:
            raise UserError(f"proposer.prompt={self.prompt!r} must contain {{prompt}} exactly once.")
        if not self.model.strip():
            raise UserError("proposer.model is empty: give the name that the server knows its model by.")
        self.base_url = _checked(self.base_url).rstrip("/")
        taken = [name for name in self.body or () if name in _OWN]
        if taken:
            raise UserError(f"proposer.body has {taken[0]}, which the request itself sets: leave it out.")
        for name in ("model", "server"):
            if is_secret(getattr(self, name) or ""):
                raise UserError(f"proposer.{name} looks like a secret: keys belong into OPENAI_API_KEY.")

    def identity(self) -> dict[str, Any]:
        at = urlsplit(self.base_url)
        options = {name: getattr(self, name) for name in ("model", "api", "prompt", "max_new_tokens", "logprobs")}
        more = {"body": dict(self.body)} if self.body else {}
        return {
            "kind": "openai",
            "version": _VERSION,
            "server": self.server or (at.hostname or "") + (f":{at.port}" if at.port else ""),
            **options,
            "stop": list(self.stop),
            **more,
        }

    def propose(self, questions: list[Asked], device: str, seed: int, progress) -> Iterator[tuple[str, Proposal]]:
        """In the order in which they are answered. After a failure what is under way is still taken in."""
        from anyio.from_thread import start_blocking_portal

        if self.budget is not None and len(questions) > self.budget:
            raise UserError(
                f"proposer.budget={self.budget} is less than the {len(questions)} proposals that are not there yet, a"
                " request each: raise it, or ask fewer questions (task.limit)."
            )
        notes = _Notes(self)
        server = Server(
            f"proposer.base_url={self.base_url}",
            self.base_url,
            self._key(),
            self.concurrency,
            self.retries,
            float(self.timeout),
            self.budget,
        )
        failure: UserError | None = None
        done = 0
        with start_blocking_portal() as portal, portal.wrap_async_context_manager(server):
            line = portal.call(_line, self.concurrency)
            waiting = {portal.start_task_soon(self._ask, server, line, q): q for q in questions}
            for future in as_completed(waiting):
                try:
                    answer, seconds = future.result()
                except Stopped:
                    continue
                except UserError as error:
                    failure = failure or error
                    continue
                done += 1
                progress(done, len(questions))
                yield waiting[future].id, notes.taken(answer, seconds)
        notes.tell()
        if failure:
            kept = "what was proposed so far is kept, and the same command goes on from it."
            raise UserError(f"{str(failure).rstrip('.')}; {kept}")

    async def _ask(self, server: Server, line: Any, question: Asked) -> tuple[Answer, float]:
        async with line:
            while True:
                body = self._body(question)
                try:
                    path = "chat/completions" if self.api == "chat" else "completions"
                    return await server.ask(path, body, lambda payload: read_answer(payload, self.api == "chat"))
                except Refused as error:
                    if "logprobs" in body and error.status in (400, 422) and "logprob" in error.said.lower():
                        self._without = True
                        continue
                    server.stopped = True
                    raise UserError(f"{error} (asked for {question.id})") from None

    _without = False  # the server has refused a request for log-probabilities

    def _body(self, question: Asked) -> dict[str, Any]:
        if self.api == "chat":
            turns = question.turns or (question.prompt,)
            asked: dict[str, Any] = {
                "messages": [
                    {"role": "assistant", "content": text}
                    if i % 2
                    else {"role": "user", "content": self.prompt.replace("{prompt}", text)}
                    for i, text in enumerate(turns)
                ]
            }
        else:
            asked = {"prompt": self.prompt.replace("{prompt}", question.prompt)}
        wanted = self.logprobs and not self._without
        fields = {
            "model": self.model,
            **asked,
            "temperature": 0,
            "max_tokens": self.max_new_tokens,
            **({"stop": stops[:_MOST_STOPS]} if (stops := [s for s in self.stop if s]) else {}),
            **({"logprobs": True if self.api == "chat" else 1} if wanted else {}),
            **(self.body or {}),
        }
        return {name: value for name, value in fields.items() if value is not None}

    def _key(self) -> str | None:
        """The key for this server, and for no other."""
        here, named = (urlsplit(url) for url in (self.base_url, os.environ.get("OPENAI_BASE_URL") or _PUBLIC))
        if (here.scheme, here.hostname, _port(here)) != (named.scheme, named.hostname, _port(named)):
            return None
        key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not key.isascii() or not key.isprintable() or " " in key:
            raise UserError("OPENAI_API_KEY holds characters that no key has: set it again.")
        return key or None


class _Notes:
    """What is said about the answers, once."""

    def __init__(self, proposer: OpenAIProposer) -> None:
        self.proposer = proposer
        self.cleaned: list[str] = []
        self.silent = self.unlaid = self.thoughts = 0
        self.models: dict[str, None] = {}

    def taken(self, answer: Answer, seconds: float) -> Proposal:
        written, laid = proposal_of(answer, self.proposer.stop, seconds)
        made = cleaned(written)
        if made is not written:
            self.cleaned.append(written.text)
        self.silent += answer.tokens is None
        self.unlaid += answer.tokens is not None and not laid
        self.thoughts += answer.thought and not answer.text.strip()
        if answer.model:
            self.models.setdefault(answer.model)
        return made

    def tell(self) -> None:
        say, asked = self.proposer.say, self.proposer
        if self.silent and asked.logprobs:
            say(
                f"proposer: the server gave no log-probabilities for {self.silent} proposals: they are taken at their"
                " word (trust 1.0)."
            )
        if self.unlaid:
            say(
                f"proposer: the log-probabilities of {self.unlaid} proposals do not spell their text: these are taken"
                " at their word (trust 1.0)."
            )
        if self.thoughts:
            say(
                f"warning: {self.thoughts} answers hold a thought and nothing else: raise proposer.max_new_tokens, or"
                " switch thinking off (vLLM, SGLang, llama.cpp:"
                " 'proposer.body={chat_template_kwargs: {enable_thinking: false}}')."
            )
        others = [name for name in self.models if name != asked.model]
        if others:
            say(f"proposer: asked for {asked.model}, the server answered as {clean_text(', '.join(others[:3]))}.")
        tell_cleaned(lambda sentence: say(f"proposer: {sentence}"), self.cleaned)


async def _line(places: int) -> Any:
    """A queue with so many places at the counter, in the order of arrival."""
    import anyio

    return anyio.Semaphore(places)


def _checked(url: str) -> str:
    try:
        at = urlsplit(url)
        good = at.scheme in ("http", "https") and bool(at.hostname) and _port(at) is not None
    except ValueError:
        good = False
    shown = clean_text(url)
    if not good:
        raise UserError(
            f"proposer.base_url={shown} is no address of a server: give one such as http://localhost:8000/v1, or set"
            " OPENAI_BASE_URL."
        )
    if at.username or at.password or at.query or at.fragment:
        raise UserError(
            f"proposer.base_url={shown.partition('?')[0]} has a user, a password or a query in it, which would be"
            " stored: leave it out; a key belongs into OPENAI_API_KEY."
        )
    return url


def _port(at: Any) -> int:
    return at.port or (443 if at.scheme == "https" else 80)
