"""The real W&B client, offline: what it stores, what it never stores, and that it cannot hurt a run."""

from __future__ import annotations

import io
import json
import socket
import time
from pathlib import Path

import pytest

from tests.track.stored import messages, stored
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


def test_a_file_that_is_still_being_written_is_read_up_to_its_last_whole_record(quiet_home, figure):
    offline = tracked(WandbTracker(mode="offline"), quiet_home / "run", figure)
    stored(offline)  # waits until it is whole
    (file,) = offline.glob("*.wandb")
    whole, data = messages(file), file.read_bytes()
    for size in range(7, len(data), 11):
        file.write_bytes(data[:size])
        assert messages(file) == whole[: len(messages(file))]


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
