"""A study's folder, finished, and a W&B server on this machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.tracking.server import KEY, serving
from warmexp.tracking import client

BASELINE = "init=mask remask=none"


@pytest.fixture
def server(quiet_home, monkeypatch):
    monkeypatch.setattr(client, "_INIT_SECONDS", 60)  # patience with a slow machine
    monkeypatch.setattr(client, "_ANSWER_SECONDS", 20.0)
    with serving() as found:
        monkeypatch.setenv("WANDB_BASE_URL", found.address)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        client.quiet_client().teardown()  # the client keeps the address of the server it was first told of
        yield found
    client.quiet_client().teardown()


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """An outputs folder with a study of two runs and its front, and one run more."""
    from warmexp.analysis.analysis import analyse
    from warmexp.analysis.points import collect
    from warmexp.api import run_overrides
    from warmexp.report.export import write_front

    outputs = tmp_path_factory.mktemp("outputs")
    words = ["task.limit=4", f"outputs={outputs}"]
    study = outputs / "studies" / "rates"
    (study / "jobs").mkdir(parents=True)
    folders = []
    for number, more in enumerate((["tau=0.9"], ["tau=0.5"])):
        _, folder = run_overrides([*words, *more, "study.name=rates"])
        folders.append(folder)
        job = {"number": number, "overrides": more, "run_id": folder.name, "folder": folder.name, "status": "finished"}
        (study / "jobs" / f"{number}.json").write_text(json.dumps(job))
    points, _ = collect(folders)
    write_front(analyse(points, baseline=BASELINE), study / "front")
    run_overrides([*words, "tau=0.7"])
    return outputs


@pytest.fixture
def outputs(finished, quiet_home) -> Path:
    """A copy to write in, moved since the front was written."""
    copy = quiet_home / "outputs"
    shutil.copytree(finished, copy)
    front = copy / "studies" / "rates" / "front" / "front.json"
    front.write_text(front.read_text().replace(str(finished), "elsewhere"))
    return copy
