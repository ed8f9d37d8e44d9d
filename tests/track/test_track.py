"""The real W&B client, offline: what it stores, what it never stores, and that it cannot hurt a run."""

from __future__ import annotations

import io
import json
import socket
import time
from pathlib import Path

import pytest

from warmexp.errors import UserError
from warmexp.track.console import ProgressBar
from warmexp.track.none import NoTracker
from warmexp.track.wandb import WandbTracker, without_secrets

SUMMARY = {"run_id": "r", "nfe_mean": 7.25, "accuracy_flexible": 0.5, "status": "finished"}
RECORD = {
    "id": "q1", "question": "How many pens?", "proposal": {"text": "five"}, "response": "#### 5", "target": "5",
    "correct": {"strict": True, "flexible": True}, "nfe": 7,
}  # fmt: skip
CONFIG = {"init": {"rho": 0.5}, "proposer": {"path": "x", "max_new_tokens": 9}, "seed": 3}


@pytest.fixture
def figure(quiet_home) -> Path:
    from matplotlib.figure import Figure

    path = quiet_home / "nfe.png"
    Figure(figsize=(1, 1)).savefig(path)
    return path


def tracked(tracker: WandbTracker, folder: Path, figure: Path, config: dict = CONFIG) -> Path:
    """One whole run through the tracker; the folder of the offline run."""
    folder.mkdir(exist_ok=True)
    tracker.start("lab-mask-0", config, folder)
    tracker.progress(1, 1, 7.0, 1.0)
    tracker.finish(SUMMARY, [RECORD], [figure])
    (offline,) = (folder / "wandb").glob("offline-run-*")
    return offline


def messages(file: Path) -> list[bytes]:
    """The records of a .wandb file: LevelDB's log format behind a 7-byte file header (crc 4, length 2, type 1; 32 KiB blocks)."""
    data, at, found, part = file.read_bytes(), 7, [], b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        part += data[at + 7 : at + 7 + length]
        if kind in (1, 4):  # whole, or last part
            found.append(part)
            part = b""
        at += 7 + length
    return found


def stored(offline: Path) -> dict[str, dict]:
    """Config, summary and history of an offline run, as the client wrote them."""
    from wandb.proto import wandb_internal_pb2

    found: dict[str, dict] = {"config": {}, "summary": {}, "run": {}}
    deadline = time.monotonic() + 30  # the client's own process may write its records after `finish` returns
    while True:
        records = [wandb_internal_pb2.Record.FromString(data) for file in offline.glob("*.wandb") for data in messages(file)]
        if (records and records[-1].WhichOneof("record_type") == "exit") or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    for record in records:
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            found["run"] = {"project": run.project, "group": run.run_group, "tags": list(run.tags), "name": run.display_name}
            found["config"] |= {u.key: json.loads(u.value_json) for u in run.config.update}
        elif kind == "summary":
            found["summary"] |= {(u.key or "/".join(u.nested_key)): json.loads(u.value_json) for u in record.summary.update}
        elif kind == "history":
            found["summary"] |= {(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in record.history.item}
    return found


def test_an_offline_run_holds_everything(quiet_home, figure):
    tracker = WandbTracker(project="p", group="study", tags=["a", "b"])
    started = time.monotonic()
    offline = tracked(tracker, quiet_home / "run", figure)
    assert time.monotonic() - started < 60
    assert "no API key" in tracker.note and f"wandb sync {offline}" in tracker.note
    found = stored(offline)
    assert found["run"] == {"project": "p", "group": "study", "tags": ["a", "b"], "name": "lab-mask-0"}
    assert found["config"]["init"] == {"rho": 0.5} and found["config"]["proposer"]["max_new_tokens"] == 9
    assert found["summary"]["nfe_mean"] == 7.25
    table = next((offline / "files" / "media" / "table").glob("*.json"))
    assert json.loads(table.read_text())["data"] == [["q1", "How many pens?", "five", "#### 5", "5", True, 7]]
    assert list((offline / "files" / "media" / "images").rglob("*.png"))


def test_secrets_never_reach_the_run(quiet_home, figure, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_thisisthesecretvalue")
    config = {**CONFIG, "note": "uses hf_thisisthesecretvalue", "auth": {"api_key": "another-secret"}}
    offline = tracked(WandbTracker(mode="offline"), quiet_home / "run", figure, config)
    content = b"".join(p.read_bytes() for p in offline.rglob("*") if p.is_file())
    assert b"thisisthesecretvalue" not in content and b"another-secret" not in content
    assert without_secrets({"end_tokens": [1], "hf_token": "x"}) == {"end_tokens": [1]}


def test_a_server_that_does_not_answer_is_not_waited_for(quiet_home, figure, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    tracker = WandbTracker()
    tracked(tracker, quiet_home / "run", figure)
    assert "does not answer" in tracker.note


def test_a_broken_client_never_fails_a_run(quiet_home, figure, monkeypatch):
    import wandb

    def broken(*_, **__):
        raise RuntimeError("no room left\nin the client")

    monkeypatch.setattr(wandb, "init", broken)
    tracker = WandbTracker(mode="offline")
    tracker.start("r", CONFIG, quiet_home)
    tracker.progress(1, 2, 1.0, 1.0)
    tracker.finish(SUMMARY, [RECORD], [figure])
    assert tracker.note == "warning: W&B tracking stopped (no room left); the run folder has everything."


@pytest.mark.parametrize(("name", "value"), [("WANDB_MODE", "disabled"), ("WANDB_DISABLED", "true")])
def test_the_environment_can_switch_it_off(quiet_home, figure, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    tracker = WandbTracker()
    tracker.start("r", CONFIG, quiet_home)
    tracker.finish(SUMMARY, [RECORD], [figure])
    assert not (quiet_home / "wandb").exists() and "off" in tracker.note


def test_an_unknown_mode_is_refused():
    with pytest.raises(UserError, match=r"tracker\.mode=sometimes.*offline"):
        WandbTracker(mode="sometimes")


def test_no_tracker_has_the_same_methods():
    public = {name for name in vars(WandbTracker) if not name.startswith("_") and callable(getattr(WandbTracker, name))}
    assert public == {name for name in vars(NoTracker) if not name.startswith("_") and callable(getattr(NoTracker, name))}


def test_the_progress_bar_is_silent_where_there_is_no_terminal(capsys):
    with ProgressBar(3, "decoding") as bar:
        bar.update(2, 7.5, 0.5)
    assert capsys.readouterr() == ("", "")


def test_the_progress_bar_shows_running_means():
    from rich.console import Console

    screen = io.StringIO()
    with ProgressBar(4, "decoding", Console(file=screen, force_terminal=True, width=120)) as bar:
        bar.update(2, 7.5, 0.5)
    assert "2/4" in screen.getvalue() and "NFE 7.5" in screen.getvalue() and "right 50.0 %" in screen.getvalue()


def test_a_tracked_run_end_to_end(quiet_home, checkpoint):
    """From the command line's words to an offline W&B run beside the records."""
    from warmexp.api import planned
    from warmexp.run import run

    words = [
        "backbone=checkpoint",
        f"backbone.path={checkpoint}",
        "backbone.dtype=float32",
        "length.canvas_length=8",
        "length.block_length=8",
    ]
    plan = planned([*words, "task.limit=3", "tracker=wandb", "tracker.group=g"])
    said: list[str] = []
    summary = run(plan, said.append)
    (offline,) = (plan.folder / "wandb").glob("offline-run-*")
    assert any(f"wandb sync {offline.resolve()}" in sentence for sentence in said)
    found = stored(offline)
    assert found["summary"]["nfe_mean"] == summary["nfe_mean"] and found["run"]["group"] == "g"
    assert found["config"]["choices"]["init"] == "mask" and found["config"]["run_id"] == plan.run_id
