"""Online, with the real client and a server on this machine: nothing is there twice, and a server that fails holds
nobody up."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.tracking.server import KEY
from tests.tracking.stored import stored
from tests.tracking.test_track import CONFIG, RECORD, SUMMARY
from warmexp.tracking import backfill, client
from warmexp.tracking.wandb import WandbTracker


@pytest.fixture
def run_folder(quiet_home) -> Path:
    """A finished run's folder, as far as it is read."""
    from omegaconf import OmegaConf

    folder = quiet_home / "outputs" / "lab-mask-0"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create({**CONFIG, "run_id": "lab-mask-0"})))
    (folder / "summary.json").write_text(json.dumps(SUMMARY))
    (folder / "records.jsonl").write_text(json.dumps(RECORD) + "\n")
    return folder


def tracked(folder: Path, **options) -> WandbTracker:
    tracker = WandbTracker(project="p", **options)
    tracker.start("lab-mask-0", CONFIG, folder)
    tracker.progress(1, 1, 7.0, 1.0)
    tracker.finish(SUMMARY, [RECORD], [])
    return tracker


def wandb_sync(*words: str, cwd: Path) -> subprocess.CompletedProcess:
    talking = {**os.environ, "WANDB_SILENT": "false"}
    command = [sys.executable, "-m", "wandb", "sync", *words]
    return subprocess.run(
        command, cwd=cwd, env=talking, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )


def test_a_run_is_sent_once(server, run_folder):
    assert tracked(run_folder, group="g").note == f"W&B: {server.address}/me/p/runs/{next(iter(server.runs))}"
    (run,) = server.runs.values()
    assert (run["groupName"], run["jobType"], run["tags"], run["exitcode"]) == (
        "g",
        "run",
        ["token_inject", "oracle", "lab"],
        0,
    )
    assert (
        run["config"]["rho"] == {"value": 0.5}
        and run["summary"]["nfe_mean"] == 7.25
        and run["summary"]["status"] == "finished"
    )
    assert all(KEY.encode() not in file.read_bytes() for file in run_folder.rglob("*") if file.is_file())
    lines = len(run["history"])
    again = WandbTracker(project="p", group="g")
    again.mirror("lab-mask-0", CONFIG, run_folder)
    assert again.note is None and server.asked["RunResumeStatus"] == 1  # the folder's own note was enough
    (run_folder / "wandb.json").unlink()
    again.mirror("lab-mask-0", CONFIG, run_folder)
    assert (
        server.asked["RunResumeStatus"] == 2 and len(server.runs) == 1 and len(run["history"]) == lines
    )  # W&B's own summary was


def test_the_run_of_a_sweep_has_the_id_that_its_agent_waits_for(server, run_folder, monkeypatch):
    """Also where the run was finished earlier and sent under its own id."""
    tracked(run_folder)
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    monkeypatch.setenv("WANDB_RUN_ID", "agent1")
    WandbTracker(project="p").mirror("lab-mask-0", CONFIG, run_folder)
    assert list(server.runs) == ["lab-mask-0", "agent1"] and server.runs["agent1"]["summary"]["nfe_mean"] == 7.25


def test_a_run_that_was_killed_goes_on_as_the_same_run(server, run_folder):
    tracker = WandbTracker(project="p")
    tracker.start("lab-mask-0", CONFIG, run_folder)
    tracker.progress(1, 2, 7.0, 1.0)
    tracker.fail("killed")
    (run,) = server.runs.values()
    assert run["exitcode"] == 1 and not (run_folder / "wandb.json").exists()
    tracked(run_folder)
    assert len(server.runs) == 1 and run["exitcode"] == 0 and run["summary"]["status"] == "finished"
    steps = [row["_step"] for row in run["history"]]
    assert steps == sorted(set(steps))


def test_what_was_kept_offline_is_backfilled_once(server, run_folder, monkeypatch, capsys):
    """Offline first, then the backfill, then `wandb sync`: one W&B run, and the sync finds nothing left to do."""
    tracked(run_folder, mode="offline")
    (offline,) = (run_folder / "wandb").glob("offline-run-*")
    stored(offline)
    monkeypatch.setattr(
        "warmexp.analysis.points.collect", lambda roots, accuracy: ([SimpleNamespace(folder=run_folder)], [])
    )
    for expected in ("W&B: http", "is there already"):
        assert backfill.main([str(run_folder), "--project", "p"]) == 0
        assert expected in capsys.readouterr().out
    (run,) = server.runs.values()
    lines = len(run["history"])
    assert run["summary"]["nfe_mean"] == 7.25
    done = wandb_sync("--yes", cwd=run_folder)
    assert done.returncode == 0 and "No runs to sync" in done.stdout + done.stderr
    assert len(server.runs) == 1 and len(run["history"]) == lines


def test_wandb_sync_instead_of_the_backfill_is_noticed(server, run_folder, monkeypatch, capsys):
    tracked(run_folder, mode="offline")
    (offline,) = (run_folder / "wandb").glob("offline-run-*")
    stored(offline)
    done = wandb_sync(str(offline), cwd=run_folder)
    assert list(server.runs) == ["lab-mask-0"], done.stdout + done.stderr
    monkeypatch.setattr(
        "warmexp.analysis.points.collect", lambda roots, accuracy: ([SimpleNamespace(folder=run_folder)], [])
    )
    assert backfill.main([str(run_folder), "--project", "p"]) == 0
    assert "is there already" in capsys.readouterr().out and len(server.runs) == 1


def test_the_backfill_stops_where_the_server_does(server, run_folder, monkeypatch, capsys):
    """What the run was computed with says where it goes; the first refusal ends it, and the same command goes on."""
    other = shutil.copytree(run_folder, run_folder.with_name("lab-mask-1"))
    points = [SimpleNamespace(folder=run_folder), SimpleNamespace(folder=other)]
    monkeypatch.setattr("warmexp.analysis.points.collect", lambda roots, accuracy: (points, []))
    server.status = 401
    assert backfill.main([str(run_folder.parent)]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("[1/2]") and said.out.count("\n") == 1 and "stopped answering" in said.err
    server.status = 200
    monkeypatch.setattr(client, "_failed", {})
    assert backfill.main([str(run_folder.parent)]) == 0
    assert capsys.readouterr().out.count(f"{server.address}/me/p/runs/") == 2


@pytest.mark.parametrize(("status", "silent", "why"), [(401, False, "did not accept"), (200, True, "does not answer")])
def test_a_server_that_refuses_or_goes_silent_holds_nobody_up(server, run_folder, monkeypatch, status, silent, why):
    monkeypatch.setattr(client, "_ANSWER_SECONDS", 1.0 if silent else 20.0)
    server.status, server.silent = status, silent
    tracker = tracked(run_folder)
    assert why in tracker.note
    (offline,) = (run_folder / "wandb").glob("offline-run-*")
    assert stored(offline)["summary"]["nfe_mean"] == 7.25
    before = server.asked.total()
    shutil.rmtree(run_folder / "wandb")
    assert why in tracked(run_folder).note and server.asked.total() == before  # the next job does not try again


# With a table the client asks the server something before it sends, and gives up after 20 seconds of its own.
@pytest.mark.parametrize("sample_rows", [0, pytest.param(20, marks=pytest.mark.slow)])
def test_a_server_that_goes_silent_in_the_middle_is_given_up(server, run_folder, monkeypatch, sample_rows):
    """That this test ends is what it says about waiting."""
    monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "2")
    monkeypatch.setattr(client, "_FINISH_SECONDS", 2)
    tracker = WandbTracker(project="p", sample_rows=sample_rows)
    tracker.start("lab-mask-0", CONFIG, run_folder)
    server.silent = True
    tracker.finish(SUMMARY, [RECORD], [])
    assert tracker.note.startswith("warning: W&B tracking stopped") and not (run_folder / "wandb.json").exists()
    server.silent = False
    assert client.choose("auto")[0] == "offline"  # the next job does not try
