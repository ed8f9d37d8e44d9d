"""Requests to a server that may be slow, busy, broken or gone: tried again where that can help, one sentence where not.

The client is httpx2, which the hub's own library brings along. Its retries would be hidden from a budget and its
timeouts are for one read at a time, so both are here: every request counts, and `timeout` is for a whole answer.
"""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any

from warmexp.errors import UserError
from warmexp.secrets import clean_text

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds between tries, twice as long each time
_CONNECT = 10.0  # seconds
_LARGEST = 64 << 20  # bytes of an answer
_AGAIN = (408, 409, 425, 429)  # and every 5xx


class Stopped(Exception):
    """Another request has failed for good: this one was not sent."""


class Refused(UserError):
    """The server will not take this request. status: of its answer; said: its own words."""

    def __init__(self, sentence: str, status: int, said: str) -> None:
        super().__init__(sentence)
        self.status, self.said = status, said


class Server:
    """name: how sentences begin. url: without the last slash. key: sent as a bearer token, or None.

    retries: how often a request is sent again. timeout: seconds for an answer. budget: the most requests, or None.
    Used as an asynchronous context manager, in one event loop.
    """

    def __init__(
        self, name: str, url: str, key: str | None, concurrency: int, retries: int, timeout: float, budget: int | None
    ) -> None:
        import httpx2

        for noisy in ("httpx2", "httpcore2"):  # a line for every request
            logging.getLogger(noisy).setLevel(logging.WARNING)
        self.name, self.url, self.timeout, self.retries, self.budget = name, url, timeout, retries, budget
        self.sent = 0
        self.stopped = False
        self._answered = False
        self._resume = 0.0  # no request before this moment: the server has asked for a pause
        self._clock = _Shares()
        self._client = httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(None, connect=min(_CONNECT, timeout)),
            limits=httpx2.Limits(max_connections=concurrency),
            verify=_certificates(),
        )

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.aclose()

    async def ask(self, path: str, body: dict[str, Any], read: Any) -> tuple[Any, float]:
        """What `read` makes of the answer's JSON, and the seconds it took (its share, where others were under way).

        read: raises ValueError for what is no answer; such a request is sent again.
        Raises:
            UserError: one sentence; after it nothing more is sent. Refused: a status that no repetition changes.
            Stopped: another request has failed before.
        """
        for tried in range(1, self.retries + 2):
            await self._turn()
            begun, most = self._clock.enter(), self.retries + 1
            try:
                status, headers, raw = await self._post(path, body)
                why, wait = None, None
            except _Failed as failed:
                why, wait, status = failed.why, None, -1 if failed.unreachable else 0
                if failed.unreachable and not self._answered:
                    most = min(most, 2)  # nobody was ever there
            finally:
                seconds = self._clock.leave(begun)
            if why is None:
                self._answered = True
                if status == 200:
                    try:
                        return read(json.loads(raw)), seconds
                    except (ValueError, RecursionError) as error:
                        why = f"answers with what is no completion ({_words(raw) or 'nothing'}; {_first(error)})"
                else:
                    said = _said(raw)
                    why = f"answers {status}{f' ({said})' if said else ''}"
                    if status not in _AGAIN and status < 500:
                        raise self._refused(status, headers, said)
                    wait = _asked_to_wait(headers)
            if tried >= most:
                raise self.stop(f"{why}, the last of {most} tries: {self._remedy(status)}")
            await self._pause(wait, tried, why)
        raise AssertionError("unreachable")

    async def _turn(self) -> None:
        """Wait while the server has asked for a pause; count the request."""
        import anyio

        while not self.stopped and (left := self._resume - time.monotonic()) > 0:
            await anyio.sleep(min(left, 1.0))
        if self.stopped:
            raise Stopped
        if self.budget is not None and self.sent >= self.budget:
            raise self.stop(f"proposer.budget={self.budget} requests are spent: raise it")
        self.sent += 1

    async def _post(self, path: str, body: dict[str, Any]) -> tuple[int, Any, bytes]:
        import anyio
        import httpx2

        try:
            with anyio.fail_after(self.timeout):
                async with self._client.stream("POST", f"{self.url}/{path}", json=body) as answer:
                    raw = b""
                    async for part in answer.aiter_bytes():
                        raw += part
                        if len(raw) > _LARGEST:
                            raise _Failed(f"answers with more than {_LARGEST >> 20} MiB")
                    return answer.status_code, answer.headers, raw
        except TimeoutError:
            raise _Failed(f"did not answer within proposer.timeout={self.timeout:g} seconds") from None
        except httpx2.ConnectTimeout:
            raise _Failed("cannot be reached (no connection in time)", unreachable=True) from None
        except httpx2.ConnectError as error:
            raise _Failed(f"cannot be reached ({_first(error)})", unreachable=True) from None
        except httpx2.HTTPError as error:
            raise _Failed(f"broke the connection ({_first(error)})") from None

    async def _pause(self, wait: float | None, tried: int, why: str) -> None:
        import anyio

        if wait is not None:
            if wait > self.timeout:
                raise self.stop(f"{why} and asks to wait {wait:.0f} seconds, more than proposer.timeout: ask later")
            self._resume = max(self._resume, time.monotonic() + wait)
            return
        until = time.monotonic() + min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (tried - 1))
        while not self.stopped and (left := until - time.monotonic()) > 0:
            await anyio.sleep(min(left, 0.5))

    def _refused(self, status: int, headers: Any, said: str) -> Refused:
        sentence = f"{self.name} answers {status}{f' ({said})' if said else ''}: {self._remedy(status, headers)}"
        return Refused(sentence, status, said)

    def _remedy(self, status: int, headers: Any = None) -> str:
        if status == -1:
            return "see whether it runs, and check proposer.base_url"
        if 300 <= status < 400:
            return f"set proposer.base_url to where it points ({_words(headers.get('location', '').encode())})"
        if status in (401, 403):
            if "Authorization" in self._client.headers:
                return "check the key in OPENAI_API_KEY, which was sent"
            return "no key was sent: set OPENAI_API_KEY, and OPENAI_BASE_URL, the one server to which it goes"
        if status in (404, 405):
            return "check proposer.base_url (with most servers it ends in /v1), proposer.api and proposer.model"
        if 400 <= status < 500 and status not in _AGAIN:
            return "check proposer.model, proposer.max_new_tokens and proposer.body against what the server takes"
        return "see whether it runs, or lower proposer.concurrency or raise proposer.timeout or proposer.retries"

    def stop(self, sentence: str) -> UserError:
        """Nothing more is sent; the error to raise."""
        self.stopped = True
        return UserError(f"{self.name} {sentence}" if not sentence.startswith("proposer.") else sentence)


@cache
def _certificates() -> Any:
    """Read once: it takes most of a second."""
    import httpx2

    return httpx2.create_ssl_context()


class _Failed(Exception):
    """No answer. unreachable: nobody was there to be asked."""

    def __init__(self, why: str, unreachable: bool = False) -> None:
        super().__init__(why)
        self.why, self.unreachable = why, unreachable


class _Shares:
    """Each request's share of the time: while n are under way, each takes 1/n of it. The shares add up to the time in
    which anything was under way."""

    def __init__(self) -> None:
        self._under_way, self._each, self._last = 0, 0.0, 0.0

    def enter(self) -> float:
        self._advance()
        self._under_way += 1
        return self._each

    def leave(self, begun: float) -> float:
        self._advance()
        self._under_way -= 1
        return self._each - begun

    def _advance(self) -> None:
        now = time.monotonic()
        if self._under_way:
            self._each += (now - self._last) / self._under_way
        self._last = now


def _asked_to_wait(headers: Any) -> float | None:
    """Seconds that `Retry-After` (seconds or a date) asks for."""
    given = headers.get("retry-after", "")
    try:
        wait = float(given)
    except ValueError:
        try:
            at = parsedate_to_datetime(given)
        except (TypeError, ValueError):
            return None
        wait = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()
    return max(0.0, wait) if wait == wait else None


def _said(raw: bytes) -> str:
    """What an error's body says, in one line."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return _words(raw)
    for key in ("error", "detail", "message"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    return _words(found.encode("utf-8", "replace") if isinstance(found, str) else json.dumps(found).encode())


def _words(raw: bytes) -> str:
    """The beginning of a text from elsewhere, printable and without secrets."""
    text = clean_text(" ".join(raw[:4000].decode("utf-8", "replace").split()))
    return "".join(c for c in text if c.isprintable())[:200]


def _first(error: BaseException) -> str:
    return _words(str(error).encode("utf-8", "replace")) or type(error).__name__
