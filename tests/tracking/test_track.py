"""The real W&B client, offline: what it stores, what it never stores, and that it cannot hurt a run."""

from __future__ import annotations

import io
import json
import socket
import time
from pathlib import Path

import pytest

from tests.tracking.stored import messages, stored
from warmexp.errors import UserError
from warmexp.runs.console import ProgressBar
from warmexp.secrets import REMOVED
from warmexp.tracking.content import metrics, run_key
from warmexp.tracking.none import NoTracker
from warmexp.tracking.wandb import WandbTracker

SUMMARY = {"run_id": "r", "nfe_mean": 7.25, "nfe_ci95": [7.0, 7.5], "accuracy_flexible": 0.5, "status": "finished"}
RECORD = {
    "id": "q1", "question": "How many pens?", "proposal": {"text": "five"}, "response": "#### 5", "target": "5",
    "correct": {"strict": True, "flexible": True}, "nfe": 7,
}  # fmt: skip
CONFIG = {
    "init": {"_target_": "warmexp.methods.init.token_inject.TokenInject", "rho": 0.5, "scope": ["a", "b"]},
    "proposer": {"path": "x", "max_new_tokens": 9}, "unmask": {"tau": 0.9}, "rho": None, "tau": None, "seed": 3,
    "choices": {"init": "token_inject", "proposer": "oracle", "remask": "none", "backbone": "lab", "task": "lab", "tracker": "wandb"},
    "study": {"name": None, "baseline": None}, "tracker": {"project": "p"},
}  # fmt: skip


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
    offline = tracked(tracker, quiet_home / "run", figure)
    assert "no API key" in tracker.note and f"wandb sync {offline}" in tracker.note
    found = stored(offline)
    assert found["run"] | {"id": ""} == {
        "id": "", "project": "p", "group": "study", "job_type": "run", "name": "token_inject · oracle · seed 3 · 0",
        "tags": ["token_inject", "oracle", "lab", "a", "b"],
    }  # fmt: skip
    assert {key: value for key, value in found["config"].items() if key != "_wandb"} == {
        "init": "token_inject", "proposer": "oracle", "remask": "none", "backbone": "lab", "task": "lab", "seed": 3,
        "rho": 0.5, "init_scope": "a, b", "tau": 0.9, "proposer_path": "x", "proposer_max_new_tokens": 9,
    }  # fmt: skip
    assert {key: found["summary"][key] for key in metrics(SUMMARY)} == metrics(SUMMARY)
    assert found["summary"]["nfe_ci95_low"] == 7.0 and found["summary"]["progress/nfe"] == 7.0
    assert found["metrics"]["nfe_mean"] == "min" and found["metrics"]["accuracy_flexible"] == "max"
    assert found["metrics"]["progress/*"] == "progress/questions"
    table = next((offline / "files" / "media" / "table").glob("*.json"))
    assert json.loads(table.read_text())["data"] == [["q1", "How many pens?", "five", "#### 5", "5", True, 7]]
    assert list((offline / "files" / "media" / "images").rglob("*.png"))


def test_a_run_has_the_same_id_whenever_it_is_sent(quiet_home, figure):
    """Torn and gone on with: two sets of offline files, one W&B run. Another group has a run of its own."""
    folder = quiet_home / "run"
    for _ in range(2):
        tracker = WandbTracker(mode="offline")
        folder.mkdir(exist_ok=True)
        tracker.start("lab-mask-0", CONFIG, folder)
        tracker.finish(SUMMARY, [RECORD], [])
        time.sleep(1.1)  # the client names its folder by the second
    offline = list((folder / "wandb").glob("offline-run-*"))
    assert len(offline) == 2 and {stored(one)["run"]["id"] for one in offline} == {"lab-mask-0"}
    assert run_key("lab-mask-0", "a") != run_key("lab-mask-0", "b") and run_key("lab-mask-0", "a") == run_key(
        "lab-mask-0", "a"
    )


def test_the_study_is_the_group_unless_the_tracker_has_one(quiet_home, figure):
    config = CONFIG | {"study": {"name": "injection"}}
    found = stored(tracked(WandbTracker(mode="offline"), quiet_home / "a", figure, config))
    assert found["run"]["group"] == "injection" and found["config"]["study"] == "injection"
    assert (
        stored(tracked(WandbTracker(mode="offline", group="g"), quiet_home / "b", figure, config))["run"]["group"]
        == "g"
    )


def test_a_run_that_saw_the_answer_is_tagged_whatever_its_proposer_is_called(quiet_home):
    config = CONFIG | {"choices": {"init": "token_inject", "proposer": "mine"}}
    for name, oracle in (("seen", True), ("unseen", False)):
        (quiet_home / name).mkdir()
        tracker = WandbTracker(mode="offline")
        tracker.start(name, config, quiet_home / name)
        tracker.finish(SUMMARY | {"oracle": oracle}, [RECORD], [])
        (offline,) = (quiet_home / name / "wandb").glob("offline-run-*")
        assert stored(offline)["run"]["tags"] == ["token_inject", "mine", *(["oracle"] if oracle else [])]


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


def test_a_project_that_wandb_would_not_take_is_refused_at_once():
    with pytest.raises(UserError, match=r"tracker\.project=me/lab cannot name"):
        WandbTracker(project="me/lab")


def test_no_tracker_has_the_same_methods():
    public = {name for name in vars(WandbTracker) if not name.startswith("_") and callable(getattr(WandbTracker, name))}
    assert public == {
        name for name in vars(NoTracker) if not name.startswith("_") and callable(getattr(NoTracker, name))
    }


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
    from warmexp.runs.run import run

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
    assert (
        found["config"]["init"] == "mask" and found["config"]["run_id"] == plan.run_id and found["config"]["tau"] == 0.9
    )


def test_tags_that_wandb_refuses_do_not_stop_tracking(quiet_home, figure):
    tracker = WandbTracker(
        tags=["", "  ", "x" * 100, "a", "a ", "ghp_aB3dE5fG7hJ9kL2mN4pQ6rS8tU0vW"], name="hf_" + "a" * 30
    )
    offline = tracked(tracker, quiet_home / "run", figure)
    assert "warning" not in tracker.note
    found = stored(offline)["run"]
    assert found["tags"][-3:] == ["x" * 64, "a", REMOVED] and found["name"] == REMOVED


def test_project_and_entity_of_the_environment(quiet_home, monkeypatch):
    from warmexp.api import composed
    from warmexp.config.instantiate import build

    def made(**given):
        return WandbTracker(**given).destination

    assert (made().project, made().entity) == ("warmexp", None)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.setenv("WANDB_ENTITY", "us")
    assert (made().project, made().entity) == ("mine", "us")
    assert (made(project="p", entity="e").project, made(project="p", entity="e").entity) == ("p", "e")
    cfg, _ = composed(["tracker=wandb"])
    assert build("tracker", cfg.tracker).destination.project == cfg.tracker.project == "mine"  # as config.yaml keeps it
    monkeypatch.setenv("WANDB_PROJECT", "")  # as good as none
    cfg, _ = composed(["tracker=wandb"])
    assert build("tracker", cfg.tracker).destination.project == made().project == "warmexp"
