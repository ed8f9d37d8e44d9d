"""A small OpenAI-compatible server on this machine that answers as it is told: right, late, wrong or not at all."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Fake:
    """address: base_url. requests: what came, in order: (path, headers, body). act: of the how-manieth request (from 1)
    and its body makes a fault, or None for an answer: see FAULTS. reply: of a body, the answer."""

    address: str = ""
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    act: Callable[[int, dict[str, Any]], Any] = lambda number, body: None
    reply: Callable[[dict[str, Any]], Any] = lambda body: completion(body, f"{prompt_of(body)}!")
    at_once: int = 0
    most_at_once: int = 0


def prompt_of(body: dict[str, Any]) -> str:
    return body["prompt"] if "prompt" in body else body["messages"][-1]["content"]


def completion(body: dict[str, Any], text: str, logprobs: Any = None, finish: str = "stop", **message: Any) -> Any:
    said = {"text": text} if "prompt" in body else {"message": {"role": "assistant", "content": text, **message}}
    choice = {"index": 0, "finish_reason": finish, "logprobs": logprobs, **said}
    return {"id": "1", "object": "completion", "model": body["model"], "choices": [choice]}


@contextmanager
def fake() -> Iterator[Fake]:
    """FAULTS: a number (a status) or (status, headers, body); "reset" in the middle of the answer, "hang up" without
    one; bytes, an answer as they are; a float, an answer after so many seconds."""
    told = Fake()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                told.requests.append((self.path, dict(self.headers), body))
                number = len(told.requests)
                told.at_once += 1
                told.most_at_once = max(told.most_at_once, told.at_once)
            try:
                self._answer(told.act(number, body), body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                with lock:
                    told.at_once -= 1

        def _answer(self, fault: Any, body: dict[str, Any]) -> None:
            if isinstance(fault, float):
                time.sleep(fault)
                fault = None
            if fault in ("reset", "hang up"):
                if fault == "reset":
                    self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"choi')
                    self.wfile.flush()
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
            elif isinstance(fault, bytes):
                self._send(200, {}, fault)
            elif fault is not None:
                status, headers, said = fault if isinstance(fault, tuple) else (fault, {}, {"error": {"message": "no"}})
                self._send(status, headers, json.dumps(said).encode())
            else:
                self._send(200, {}, json.dumps(told.reply(body)).encode())

        def _send(self, status: int, headers: dict[str, str], raw: bytes) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", "Content-Length": str(len(raw)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None: ...

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *_: object) -> None: ...

    server = Quiet(("127.0.0.1", 0), Handler)
    told.address = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
