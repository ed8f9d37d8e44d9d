"""The saved workspace of a study: what it shows, that it is saved once, and what is said where it cannot be."""

from __future__ import annotations

import json

import pytest

from warmexp.tracking import workspace
from warmexp.tracking.study import log_study
from warmexp.tracking.wandb import WandbTracker

pytest.importorskip("wandb_workspaces", reason="wandb-workspaces is not installed")


@pytest.fixture
def study(outputs):
    return outputs / "studies" / "rates"


@pytest.fixture
def front(study):
    return json.loads((study / "front" / "front.json").read_text())


def spec_of(built) -> dict:
    return json.loads(built._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))


def panels_of(spec: dict) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for section in spec["section"]["panelBankConfig"]["sections"]:
        for panel in section["panels"]:
            found.setdefault(panel["viewType"], []).append(panel["config"])
    return found


def test_the_workspace_shows_the_study_by_the_names_that_its_runs_have(front):
    spec = spec_of(workspace.build(front, "rates", "me", "p"))
    panels = panels_of(spec)
    assert (panels["Scatter Plot"][0]["xAxis"], panels["Scatter Plot"][0]["yAxis"]) == (
        "summary:nfe_mean",
        "summary:accuracy_flexible",
    )
    columns = [column["accessor"] for column in panels["Parallel Coordinates Plot"][0]["columns"]]
    assert columns == ["config:tau.value", "summary:nfe_mean", "summary:accuracy_flexible"]
    assert panels["Media Browser"][0]["mediaKeys"] == ["front_figure"]
    (runs,) = spec["section"]["runSets"]
    assert [(one["key"]["name"], one["value"]) for one in runs["filters"]["filters"]] == [("group", "rates")]
    assert {"config:tau", "summary:nfe_mean", "summary:accuracy_flexible"} <= set(runs["runFeed"]["columnPinned"])


def test_every_set_of_questions_has_a_panel(front):
    front["groups"] = [*front["groups"], {**front["groups"][0], "name": "others"}]
    panels = panels_of(spec_of(workspace.build(front, "rates", "me", "p")))
    assert [panel["mediaKeys"] for panel in panels["Media Browser"]] == [["front_figure_1"], ["front_figure_2"]]


def test_another_axis_and_filter_are_followed(front):
    front |= {"x": "seconds", "accuracy": "strict"}
    (first, *_) = panels_of(spec_of(workspace.build(front, "rates", "me", "p")))["Scatter Plot"]
    assert (first["xAxis"], first["yAxis"]) == ("summary:seconds_total", "summary:accuracy_strict")


def test_a_study_that_ends_online_has_a_workspace_and_it_is_saved_once(server, study, front, capsys):
    tracker = WandbTracker(project="p")
    assert "workspace: http" in log_study(tracker, front, study, "rates")
    (view,) = server.views.values()
    assert (view["entityName"], view["projectName"], view["displayName"]) == ("me", "p", "study rates")
    assert log_study(tracker, front, study, "rates").startswith("W&B has this front already")
    assert "workspace" not in log_study(tracker, front | {"caveats": ["more"]}, study, "rates")
    view["spec"] = view["spec"].replace("rates", "changed by hand")
    assert workspace.main([str(study), "--project", "p", "--entity", "me"]) == 0
    assert capsys.readouterr().out.startswith("workspace: http")
    (view,) = server.views.values()  # the same view, as it was built
    assert "changed by hand" not in view["spec"] and '"value":"rates"' in view["spec"]
    (run,) = server.runs.values()
    assert (run["jobType"], run["groupName"], run["summary"]["caveats"]) == ("study", "rates", "more")


def test_a_workspace_that_cannot_be_saved_never_fails_a_study(server, study, front, monkeypatch):
    monkeypatch.setattr(workspace, "save", lambda *_: 1 / 0)
    assert "its workspace was not saved (division by zero)" in log_study(
        WandbTracker(project="p"), front, study, "rates"
    )


@pytest.mark.parametrize(("words", "sentence"), [(["nowhere"], "nowhere has no front/front.json"), ([], "no API key")])
def test_mistakes_are_one_sentence(study, capsys, words, sentence):
    assert workspace.main(words or [str(study)]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1


def test_a_refusal_is_one_sentence(server, study, capsys):
    server.status = 403
    assert workspace.main([str(study), "--entity", "me"]) == 2
    error = capsys.readouterr().err
    assert "did not save the workspace" in error and error.count("\n") == 1
