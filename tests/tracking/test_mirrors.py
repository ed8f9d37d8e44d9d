"""The other trackers, through their own clients, by reading back what these wrote."""

from __future__ import annotations

import json
import shutil
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.tracking.mirrored import KINDS, made, runs
from tests.tracking.test_study import front_of
from tests.tracking.test_track import CONFIG, RECORD, SUMMARY
from warmexp.errors import UserError
from warmexp.tracking import content
from warmexp.tracking.study import log_study

SECRET = "ghp_aB3dE5fG7hJ9kL2mN4pQ6rS8tU0vW"
IN_A_STUDY = CONFIG | {
    "study": {"name": "rates"},
    "labels": {"init": "ρ=0.5", "unmask": "τ=0.9", "curve": "unmask.tau"},
    "choices": CONFIG["choices"] | {"unmask": "threshold", "remask": "linear"},
}  # fmt: skip
NAME = "token_inject ρ=0.5 · oracle · τ=0.9 · linear · seed 3 · 0a1b2c"


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path | None:
    """MLflow's, with its tables, which take seconds to make."""
    try:
        from mlflow import MlflowClient
    except ImportError:
        return None
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture(autouse=True)
def places(empty_database, quiet_home, monkeypatch):
    """Stores of its own. The clients keep where they write in variables of their modules."""
    for name in ("MLFLOW_TRACKING_URI", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    if empty_database:
        shutil.copy(empty_database, quiet_home / "mlflow.db")
    monkeypatch.setenv("TRACKIO_DIR", str(quiet_home / "trackio"))
    if find_spec("trackio"):
        import_module("trackio.sqlite_storage")
        for module in [module for name, module in sys.modules.items() if name.partition(".")[0] == "trackio"]:
            for name, folder in (("TRACKIO_DIR", "."), ("MEDIA_DIR", "media")):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, quiet_home / "trackio" / folder)
    yield
    try:
        import mlflow
    except ImportError:
        return
    mlflow.set_tracking_uri(None)


@pytest.fixture
def outputs_here(quiet_home) -> Path:
    folder = quiet_home / "outputs" / "lab-token_inject-oracle-0a1b2c"
    folder.mkdir(parents=True)
    return folder


def picture(folder: Path) -> Path:
    from matplotlib.figure import Figure

    Figure(figsize=(1, 1)).savefig(folder / "nfe.png")
    return folder / "nfe.png"


def tracked(tracker, folder: Path, record: dict = RECORD, summary: dict = SUMMARY) -> None:
    tracker.start(folder.name, IN_A_STUDY, folder)
    tracker.progress(1, 1, 7.0, 1.0)
    tracker.finish(summary, [record], [picture(folder)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_read_back(kind, outputs_here, capfd):
    tracker = made(kind)
    tracked(tracker, outputs_here)
    assert "warning" not in tracker.note and tracker.title in tracker.note
    (run,) = runs(kind, outputs_here.parent)
    assert run["project"] == "warmexp" and run["group"] == "rates"
    assert run["name"].startswith(NAME if kind != "tensorboard" else NAME.replace(" · ", "  "))
    assert {key: run["config"][key] for key in ("init", "proposer", "rho", "tau", "seed", "study")} == {
        "init": "token_inject", "proposer": "oracle", "rho": "0.5", "tau": "0.9", "seed": "3", "study": "rates",
    }  # fmt: skip
    numbers = {key: value for key, value in content.metrics(SUMMARY).items() if isinstance(value, float)}
    assert {key: run["numbers"][key] for key in numbers} == pytest.approx(numbers)
    assert run["numbers"]["progress/nfe"] == 7.0
    assert run["words"]["report"] == "studies/rates/front/report.html#/run/lab-token_inject-oracle-0a1b2c"
    (row,) = run["tables"]["samples"]
    assert [str(cell) for cell in row] == ["q1", "How many pens?", "five", "#### 5", "5", "True", "7"]
    assert run["images"] == 1 and run.get("hparams", True)
    assert "".join(capfd.readouterr()) == "", "clients are quiet"


@pytest.mark.parametrize("kind", KINDS)
def test_told_again_it_is_the_same_run(kind, outputs_here):
    """Killed and resumed, and asked for again when it is finished."""
    made(kind).start(outputs_here.name, IN_A_STUDY, outputs_here)
    tracked(made(kind), outputs_here)
    (run,) = runs(kind, outputs_here.parent)
    again = made(kind)
    again.mirror(outputs_here.name, IN_A_STUDY, outputs_here)
    assert again.note is None and runs(kind, outputs_here.parent) == [run]
    other = made(kind, group="mine")
    other.start(outputs_here.name, IN_A_STUDY, outputs_here)
    other.fail("no room")
    assert len(runs(kind, outputs_here.parent)) == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_a_finished_run_is_told_from_its_folder_and_its_study_too(kind, outputs):
    from warmexp.tracking import folders

    study = outputs / "studies" / "rates"
    front = front_of(study)
    for run in front["runs"]:
        folder = outputs / run["run_id"]
        tracker = made(kind)
        tracker.mirror(run["run_id"], folders.config(folder), folder)
        assert "warning" not in (tracker.note or "")
    said = log_study(made(kind), front, study, "rates")
    assert "warning" not in said
    found = runs(kind, outputs)
    assert len(found) == 3 and {run["group"] for run in found} == {"rates"}
    (told,) = [run for run in found if "study rates" in run["name"]]
    assert told["numbers"]["hypervolume"] == pytest.approx(front["hypervolume"])
    assert len(told["tables"]["front"]) == 2 and told["images"] >= 1
    expected = sorted(run["x"] for run in front["runs"])
    assert sorted(run["numbers"]["nfe_mean"] for run in found if run is not told) == pytest.approx(expected)
    assert "has this front already" in log_study(made(kind), front, study, "rates")


@pytest.mark.parametrize("kind", KINDS)
def test_no_secret_leaves(kind, outputs_here, monkeypatch, quiet_home):
    monkeypatch.setenv("HF_TOKEN", "thisisthesecretvalue")
    record = RECORD | {"response": f"the key is {SECRET}", "question": "thisisthesecretvalue"}
    tracker = made(kind, name=f"run {SECRET}", tags=[SECRET])
    tracked(tracker, outputs_here, record, SUMMARY | {"note": "thisisthesecretvalue"})
    tracker.start("lab-b-1", IN_A_STUDY, outputs_here)
    tracker.fail(f"bad {SECRET}")
    assert len(runs(kind, outputs_here.parent)) == 2
    for file in quiet_home.rglob("*"):
        if file.is_file():
            assert SECRET.encode() not in file.read_bytes() and b"thisisthesecretvalue" not in file.read_bytes(), file
        assert SECRET not in file.name


@pytest.mark.parametrize("hook", ["_open", "_scalars", "_table", "_close"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_client_never_fails_a_run(kind, hook, outputs_here, monkeypatch):
    def broken(*_):
        raise RuntimeError(f"no room left for {SECRET}\nin the client")

    tracker = made(kind)
    monkeypatch.setattr(tracker, hook, broken)
    tracked(tracker, outputs_here)
    assert tracker.note == (
        f"warning: {tracker.title} tracking stopped (no room left for (removed: a secret)); the run folder has everything."
    )
    assert not (outputs_here / f"{kind}.json").exists()
    tracker.fail("later")


def test_mlflow_sends_a_login_to_no_server_that_a_file_names(monkeypatch, tmp_path):
    """MLflow gives it to any server; which one is the environment's to say, or a configuration from elsewhere has it."""
    from warmexp.tracking.mlflow import MlflowTracker

    monkeypatch.setattr("warmexp.tracking.mirror.find_spec", lambda _: True)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "a-login-of-mine")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mine.example/")
    for uri in ("https://elsewhere.example", "http://mine.example", "https://mine.example.elsewhere.example/"):
        with pytest.raises(UserError, match="is not the server that MLFLOW_TRACKING_URI names") as said:
            MlflowTracker(uri=uri)
        assert "a-login-of-mine" not in str(said.value)
    for uri in (None, "https://mine.example/api", "sqlite:///x.db", "runs.db"):
        MlflowTracker(uri=uri)
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    MlflowTracker(uri="https://elsewhere.example")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text("[mlflow]\nmlflow_tracking_username = me\n")
    with pytest.raises(UserError, match=r"the login of ~/\.mlflow/credentials"):
        MlflowTracker(uri="https://elsewhere.example")
    monkeypatch.setenv("HOME", "/nowhere")
    monkeypatch.setenv("MLFLOW_TRACKING_AUTH", "kubernetes")
    with pytest.raises(UserError, match="the login of MLFLOW_TRACKING_AUTH"):
        MlflowTracker(uri="https://elsewhere.example")


def test_mlflow_without_its_server(outputs_here):
    pytest.importorskip("mlflow")
    tracker = made("mlflow", uri="http://127.0.0.1:9/")
    tracked(tracker, outputs_here)
    assert tracker.note.startswith("warning: MLflow tracking stopped")
    assert log_study(tracker, {"runs": []}, outputs_here, "s").startswith("warning")


def test_a_missing_package_is_one_sentence(monkeypatch):
    from warmexp.tracking import mirror

    monkeypatch.setattr(mirror, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"tracker=mlflow needs a package: pip install 'warmexp\[mlflow\]'"):
        made("mlflow")


def test_all_trackers_have_the_same_methods():
    from warmexp.tracking.mirror import Mirror
    from warmexp.tracking.none import NoTracker
    from warmexp.tracking.several import Several
    from warmexp.tracking.wandb import WandbTracker

    def public(cls):
        return {name for name in vars(cls) if not name.startswith("_") and callable(getattr(cls, name))}

    assert public(Mirror) == public(NoTracker) == public(Several) == public(WandbTracker)


@pytest.mark.slow
def test_several_at_once(quiet_home, checkpoint):
    """From the command line's words: a run in each of them."""
    pytest.importorskip("tensorboard")
    from tests.tracking.stored import stored
    from warmexp.api import planned
    from warmexp.runs.run import run

    words = [
        "backbone=checkpoint", f"backbone.path={checkpoint}", "backbone.dtype=float32", "length.canvas_length=8", "length.block_length=8",
        "task.limit=2", "device=cpu", "tracker=several", "tracker.of=[wandb,tensorboard]", "tracker.options={wandb: {group: g}}",
    ]  # fmt: skip
    plan, said = planned(words), []
    run(plan, said.append)
    (offline,) = (plan.folder / "wandb").glob("offline-run-*")
    assert stored(offline)["run"]["group"] == "g" and len(runs("tensorboard", plan.outputs)) == 1
    assert any("wandb sync" in line and "tensorboard --logdir" in line for line in said)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"of": []}, r"tracker\.of is empty"),
        ({"of": ["wandbb"]}, r"tracker\.of=wandbb is not one of .*did you mean 'wandb'"),
        ({"of": ["several"]}, r"tracker\.of=several is not one of"),
        ({"of": ["none"], "options": {"wandb": {}}}, r"tracker\.options has wandb"),
        ({"of": ["wandb"], "options": {"wandb": {"mode": "x"}}}, r"tracker\.mode=x"),
    ],
)
def test_several_mistakes(options, said):
    with pytest.raises(UserError, match=said):
        made("several", **options)


def test_the_offline_notice_comes_once_for_a_study(quiet_home):
    said = []
    for number in range(3):
        tracker = made("wandb")
        folder = quiet_home / "outputs" / f"lab-mask-{number}"
        folder.mkdir(parents=True)
        tracker.start(folder.name, IN_A_STUDY, folder)
        tracker.finish(SUMMARY, [RECORD], [])
        said += [tracker.note] if tracker.note else []
    assert len(said) == 1
    assert "no API key" in said[0] and "python -m warmexp.tracking.backfill" in said[0] and "studies/rates" in said[0]


@pytest.mark.parametrize("kind", KINDS)
def test_where_the_runs_are_comes_once_for_a_study_too(kind, quiet_home, capfd):
    said = []
    for number in range(2):
        tracker, folder = made(kind), quiet_home / "outputs" / f"lab-mask-{number}"
        folder.mkdir(parents=True)
        tracker.start(folder.name, IN_A_STUDY, folder)
        tracker.finish(SUMMARY, [RECORD], [])
        said.append(tracker.note)
    assert said[0].startswith(tracker.title) and said[1] is None
    assert len(runs(kind, quiet_home / "outputs")) == 2


def test_names_say_what_a_run_does():
    assert content.run_name(IN_A_STUDY, "lab-token_inject-oracle-0a1b2c") == NAME
    cold = {
        "choices": {"init": "mask", "proposer": "none", "unmask": "topk", "cache": "dual", "length": "fixed"},
        "seed": 0,
    }
    assert content.run_name(cold, "lab-mask-77") == "mask · topk · dual · 77"
    voted = {
        **cold,
        "choices": {**cold["choices"], "ensemble": "hex", "watch": "prophet"},
        "labels": {"ensemble": "k=3"},
    }
    assert content.run_name(voted, "lab-mask-78") == "mask · topk · dual · hex k=3 · prophet · 78"
    assert json.dumps(content.report_of({"study": {"name": None}}, "x")) == "null"


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_computed_before_is_sent_once(kind, outputs, capfd):
    """Runs and their study by `backfill`, read back; a dry run writes nothing."""
    from warmexp.tracking import backfill

    words = [str(outputs), "--tracker", kind, "--project", "p"]
    assert backfill.main([*words, "--dry-run"]) == 0
    assert capfd.readouterr().out.count("would be sent to project p") == 4 and not list(outputs.rglob(f"{kind}.json"))
    assert backfill.main(words) == 0
    assert "warning" not in capfd.readouterr().out
    found = runs(kind, outputs)
    assert len(found) == 4 and {run["project"] for run in found} == {"p"}
    assert [run["group"] for run in found].count("rates") == 3
    assert sum("front" in run["tables"] for run in found) == 1
    means = sorted(json.loads(file.read_text())["nfe_mean"] for file in outputs.glob("lab-mask-*/summary.json"))
    assert sorted(run["numbers"]["nfe_mean"] for run in found if "nfe_mean" in run["numbers"]) == pytest.approx(means)
    assert backfill.main(words) == 0
    said = capfd.readouterr().out
    assert said.count("is there already") == 3 and said.count("has this front already") == 1
    assert len(runs(kind, outputs)) == 4


def test_a_word_of_wandbs_alone(outputs, capsys):
    from warmexp.tracking import backfill

    for word in (["--entity", "me"], ["--offline"]):
        assert backfill.main([str(outputs), "--tracker", "mlflow", *word]) == 2
        said = capsys.readouterr().err
        assert f"{word[0]} is W&B's" in said and said.count("\n") == 1
