"""A W&B server on this machine, as far as the client asks of one: it keeps what it is told of runs, and can refuse or
go silent."""

from __future__ import annotations

import gzip
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0" * 40
_RUN, _ARTIFACT, _MANIFEST, _FILE = "UnVuOjE=", "QXJ0OjE=", "TWFuOjE=", "RmlsOjE="


class Server(ThreadingHTTPServer):
    """runs: W&B run id -> what the client said of it (groupName, jobType, tags, config, summary, history, exitcode).

    views: id -> a saved workspace. asked: how often each GraphQL operation was. status: what every request is answered
    with, 200 or a refusal. silent: requests are read and never answered.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.runs: dict[str, dict[str, Any]] = {}
        self.views: dict[str, dict[str, Any]] = {}
        self.asked: Counter[str] = Counter()
        self.status, self.silent = 200, False
        self.over = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is none of ours."""

    def reply(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL answer."""
        upload = {"id": _FILE, "name": "m", "displayName": "m", "uploadUrl": f"{self.address}/put", "uploadHeaders": []}
        manifest = {"artifactManifest": {"id": _MANIFEST, "file": upload}}
        match name:
            case "RunResumeStatus":
                return {"model": {**_project(given), "bucket": self._stored(given["name"])}}
            case "UpsertBucket":
                return {"upsertBucket": self._upsert(given)}
            case "Viewer":
                return {
                    "viewer": {"id": "VTox", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}
                }
            case "ArtifactType":
                return {"project": {"artifact": None}}
            case "CreateRunFiles":
                files = [{"name": file, "uploadUrl": f"{self.address}/put"} for file in given["files"]]
                return {"createRunFiles": {"runID": _RUN, "uploadHeaders": [], "files": files}}
            case "CreateArtifact":
                sequence = {"id": "U2VxOjE=", "latestArtifact": None}
                return {
                    "createArtifact": {"artifact": {"id": _ARTIFACT, "state": "PENDING", "artifactSequence": sequence}}
                }
            case "CreateArtifactManifest":
                return {"createArtifactManifest": manifest}
            case "UpdateArtifactManifest":
                return {"updateArtifactManifest": manifest}
            case "CreateArtifactFiles":
                more = {"storagePath": None, "uploadMultipartUrls": None, "artifact": {"id": _ARTIFACT}}
                files = (given.get("input") or given)["artifactFiles"]
                nodes = [
                    {"node": {**upload, **more, "name": file["name"], "displayName": file["name"]}} for file in files
                ]
                return {"createArtifactFiles": {"files": {"edges": nodes}}}
            case "UpsertView2":
                self.views[given.get("id") or f"view{len(self.views)}"] = given
                return {
                    "upsertView": {
                        "view": {"id": given.get("id") or f"view{len(self.views) - 1}", "name": "nw-abc-v"},
                        "inserted": True,
                    }
                }
            case "View":
                views = [
                    {"node": {"id": i, "displayName": v["displayName"], "spec": v["spec"]}}
                    for i, v in self.views.items()
                ]
                return {"project": {"allViews": {"edges": views}}}
            case "CommitArtifact":
                return {"commitArtifact": {"artifact": {"id": _ARTIFACT, "digest": "x"}}}
        return {}

    def stream(self, run: str, sent: dict[str, Any]) -> None:
        """The file stream: history, summary and the end."""
        kept = self.runs[run]
        files = sent.get("files") or {}
        if lines := files.get("wandb-summary.json", {}).get("content"):
            kept["summary"] = json.loads(lines[-1])
        if "wandb-history.jsonl" in files:
            first = files["wandb-history.jsonl"]["offset"]
            kept["history"] = kept["history"][:first] + [
                json.loads(line) for line in files["wandb-history.jsonl"]["content"]
            ]
        if sent.get("complete"):
            kept["exitcode"] = sent["exitcode"]

    def _stored(self, run: str) -> dict[str, Any] | None:
        if run not in self.runs:
            return None
        kept = self.runs[run]
        tail = json.dumps([json.dumps(row) for row in kept["history"][-1:]])
        counts = {"historyLineCount": len(kept["history"]), "logLineCount": 0, "eventsLineCount": 0}
        said = {
            "summaryMetrics": json.dumps(kept["summary"]),
            "historyTail": tail,
            "eventsTail": "[]",
            "config": json.dumps(kept["config"]),
        }
        return {
            "id": _RUN,
            "name": run,
            "displayName": run,
            "tags": kept["tags"],
            "notes": None,
            "wandbConfig": '{"t": 1}',
            **counts,
            **said,
        }

    def _upsert(self, given: dict[str, Any]) -> dict[str, Any]:
        new = given["name"] not in self.runs
        kept = self.runs.setdefault(given["name"], {"summary": {}, "history": [], "config": {}, "tags": []})
        kept |= {
            key: given[key] for key in ("groupName", "jobType", "tags", "displayName") if given.get(key) is not None
        }
        kept["config"] |= json.loads(given.get("config") or "{}")
        bucket = {
            "id": _RUN,
            "name": given["name"],
            "displayName": given["name"],
            "description": None,
            "sweepName": None,
        }
        bucket |= {
            "config": json.dumps(kept["config"]),
            "historyLineCount": len(kept["history"]),
            "project": _project(given),
        }
        return {"bucket": bucket, "inserted": new}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: Any) -> None: ...

    def do_HEAD(self) -> None:
        self._answer({})

    def do_GET(self) -> None:
        self._answer({})

    def do_PUT(self) -> None:
        self._body()
        self._answer({})

    def do_POST(self) -> None:
        body = json.loads(self._body() or b"{}")
        answer: dict[str, Any] = {}
        if self.path == "/graphql":
            name = body.get("operationName") or body["query"].split("(")[0].split("{")[0].split()[-1]
            self.server.asked[name] += 1
            answer = {"data": self.server.reply(name, body.get("variables") or {})} if self.server.status == 200 else {}
        elif self.path.endswith("/file_stream") and self.server.status == 200:
            self.server.stream(self.path.split("/")[-2], body)
        self._answer(answer)

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _answer(self, content: dict[str, Any]) -> None:
        if self.server.silent:
            self.server.over.wait(120)
            return
        data = json.dumps(content).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data if self.command != "HEAD" else b"")


def _project(given: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "UHJvOjE=",
        "name": given.get("project"),
        "entity": {"id": "RW50OjE=", "name": given.get("entity") or "me"},
    }


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
