"""Models by hub name, against a small hub of our own on this machine: what is downloaded, what is recorded, what is
refused."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
import torch

from tests.checkpoints import write_checkpoint, write_dream
from warmexp.errors import UserError
from warmexp.models.checkpoint import Checkpoint
from warmexp.models.hub import model_folder, offline_if_unreachable, resolved_commit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """The four requests huggingface_hub makes of a model repository: its revision, its tree, and its files' heads and
    bodies."""

    repositories: dict[str, Path] = {}
    asked: list[str] = []

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = unquote(urlparse(self.path).path)
        parts = path.strip("/").split("/")
        name = "/".join(parts[2:4]) if parts[0] == "api" else "/".join(parts[:2])
        if name == "someone/gated":
            return self.send(403, body, b"{}", {"X-Error-Code": "GatedRepo"})
        if name not in self.repositories:
            return self.send(404, body, b"{}", {"X-Error-Code": "RepoNotFound"})
        folder = self.repositories[name]
        files = sorted(f for f in folder.iterdir() if f.is_file())
        if parts[0] == "api":
            if parts[5] not in ("main", COMMIT):
                return self.send(404, body, b"{}", {"X-Error-Code": "RevisionNotFound"})
            if parts[4] == "revision":
                told = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": f.name} for f in files]}
            else:
                told = [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": tag(f)} for f in files]
            return self.send(200, body, json.dumps(told).encode(), {"Content-Type": "application/json"})
        file = folder / parts[4]
        self.asked.append(file.name)
        return self.send(200, body, file.read_bytes(), {"ETag": f'"{tag(file)}"', "X-Repo-Commit": COMMIT})

    def send(self, status: int, body: bool, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_) -> None:
        pass


def tag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


@pytest.fixture
def hub(quiet_home, monkeypatch):
    """A running hub with an empty cache; `hub(name, folder)` publishes a folder, and `hub.asked` are the files that
    were fetched."""
    from huggingface_hub import constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setattr(Hub, "repositories", {})
    monkeypatch.setattr(Hub, "asked", [])
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "0")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(quiet_home / "cache"))
    offline_if_unreachable.cache_clear()
    yield Hub
    server.shutdown()
    server.server_close()
    offline_if_unreachable.cache_clear()


def refusal(name: str, revision: str | None = None) -> str:
    with pytest.raises(UserError) as said:
        model_folder("backbone.path", name, revision)
    assert "\n" not in str(said.value) and f"backbone.path={name}" in str(said.value)
    return str(said.value)


@pytest.mark.parametrize("write", [write_checkpoint, write_dream])
def test_a_hub_model_is_downloaded_without_its_code_and_its_commit_is_recorded(hub, tmp_path, write):
    """Code files and pickles stay on the hub; everything else arrives and loads; the commit is part of the identity."""
    published = write(tmp_path / "published")
    for name in ("modeling_x.py", "tokenization_dream.py", "pytorch_model.bin"):
        (published / name).write_text("raise SystemExit('run')")
    hub.repositories["org/model"] = published
    backbone = Checkpoint("org/model")
    assert backbone.identity()["revision"] == COMMIT
    assert backbone.load(torch.device("cpu")).mask_id == backbone.config.mask_token_id
    arrived = {f.name for f in backbone.folder.iterdir()}
    assert {f.name for f in published.iterdir()} - arrived == {
        "modeling_x.py",
        "tokenization_dream.py",
        "pytorch_model.bin",
    }
    assert set(hub.asked) == arrived, "nothing else was even asked for"
    assert Checkpoint(str(published)).identity() == {**backbone.identity(), "revision": None}


def test_once_cached_it_is_found_without_a_network(hub, tmp_path, monkeypatch):
    hub.repositories["org/model"] = write_checkpoint(tmp_path / "published")
    folder = model_folder("backbone.path", "org/model", COMMIT)
    main = model_folder("backbone.path", "org/model")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    offline_if_unreachable.cache_clear()
    assert (
        folder
        == main
        == model_folder("backbone.path", "org/model")
        == model_folder("backbone.path", "org/model", COMMIT)
    )
    assert resolved_commit(folder) == COMMIT
    assert "not in the local hub cache" in refusal("org/model", "f" * 40)


def test_refusals_of_the_hub(hub, tmp_path):
    hub.repositories["org/model"] = write_checkpoint(tmp_path / "published")
    assert "accept its licence" in refusal("someone/gated") and "HF_TOKEN" in refusal("someone/gated")
    assert "org/model@v9 has no such revision" in refusal("org/model", "v9")
    assert "not on the hub" in refusal("org/nothing")


def test_a_repository_of_pickles_is_refused(hub, tmp_path):
    published = write_checkpoint(tmp_path / "published")
    for file in published.glob("*.safetensors"):
        file.rename(published / "pytorch_model.bin")
    (published / "model.safetensors.index.json").unlink()
    hub.repositories["org/pickled"] = published
    assert "give a checkpoint with safetensors weights" in refusal("org/pickled")
    assert "pytorch_model.bin" not in hub.asked
    assert "only pytorch_model.bin, a pickle, which is never loaded" in refusal(str(published))


def test_a_local_folder_has_no_revision(tmp_path):
    folder = write_checkpoint(tmp_path / "here")
    assert "backbone.revision=null" in refusal(str(folder), "v1")
    assert resolved_commit(folder) is None


def test_an_index_without_names_is_refused(tmp_path):
    folder = write_checkpoint(tmp_path / "here")
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(UserError, match="names no weights"):
        model_folder("backbone.path", str(folder))
