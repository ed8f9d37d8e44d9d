"""Secrets: what never reaches a W&B run, by key, by value and by form."""

from __future__ import annotations

import pytest

from warmexp.tracking.secrets import REMOVED, holds_secret, key_in_netrc, server, without_secrets
from warmexp.tracking.wandb import WandbTracker

RECORD = {
    "id": "q1", "question": "Say hf_thisisthesecretvalue", "proposal": None, "response": "wandbkeywandbkeywandbkey", "target": "5",
    "correct": {"strict": True, "flexible": True}, "nfe": 7,
}  # fmt: skip


def test_no_file_of_a_run_holds_a_secret(quiet_home, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_thisisthesecretvalue")
    monkeypatch.setenv("WANDB_API_KEY", "wandbkeywandbkeywandbkey")
    config = {
        "choices": {"init": "mask", "proposer": "hf"},
        "init": {"note": "carries-along hf_thisisthesecretvalue"},
        "proposer": {"api_key": "another-secret", "path": "https://me:passphrase@host/model", "revision": "sk-ABCDEFGHIJKLMNOPQRSTUV"},
    }
    folder = quiet_home / "run"
    folder.mkdir()
    tracker = WandbTracker(mode="offline")
    tracker.start("r", config, folder)
    tracker.finish({"nfe_mean": 1.0, "note": "wandbkeywandbkeywandbkey"}, [RECORD], [])
    content = b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
    assert b"carries-along" not in content and b"@host/model" in content
    for secret in (b"thisisthesecretvalue", b"wandbkey", b"another-secret", b"passphrase", b"sk-ABC"):
        assert secret not in content


def test_a_failure_is_told_without_secrets(quiet_home, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_thisisthesecretvalue")
    tracker = WandbTracker(mode="offline")
    tracker.start("r", {}, quiet_home)
    tracker.fail("the hub refused hf_thisisthesecretvalue")
    assert all(b"thisisthesecret" not in p.read_bytes() for p in (quiet_home / "wandb").rglob("*") if p.is_file())


@pytest.mark.parametrize("value", ["hf_" + "a" * 30, "sk-" + "b" * 40, "ghp_" + "c" * 36, "https://user:pw12@host/x"])
def test_what_looks_like_a_key_is_one(value):
    (clean,) = without_secrets({"path": value}).values()
    assert REMOVED in clean and value not in clean


def test_what_looks_like_a_key_and_is_none_stays():
    config = {
        "end_tokens": [1],
        "max_new_tokens": 9,
        "revision": "0123456789abcdef0123456789abcdef01234567",
        "path": "https://host:8080/a@b",
    }
    assert without_secrets({**config, "hf_token": "x"}) == config


def test_the_key_in_netrc_is_a_secret(quiet_home, tmp_path):
    (quiet_home / ".netrc").write_text("machine api.wandb.ai login user password netrcnetrcnetrc\n")
    file = tmp_path / "report.html"
    file.write_text("<p>netrcnetrcnetrc</p>")
    assert holds_secret(file)
    file.write_text("<p>nothing</p>")
    assert not holds_secret(file)


def test_a_server_of_ones_own_is_known_as_wandb_login_has_kept_it(quiet_home, monkeypatch):
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    assert server() == "https://api.wandb.ai"
    (quiet_home / ".config" / "wandb").mkdir(parents=True)
    (quiet_home / ".config" / "wandb" / "settings").write_text("[default]\nbase_url = https://wandb.lab.example\n")
    assert server() == "https://wandb.lab.example"
    (quiet_home / ".netrc").write_text("machine wandb.lab.example login user password netrcnetrcnetrc\n")
    assert key_in_netrc(server()) == "netrcnetrcnetrc"
    monkeypatch.setenv("WANDB_BASE_URL", "http://localhost:1")
    assert server() == "http://localhost:1"
