"""A study's own run in a tracker (here, in W&B), in the group of its runs: the front as table, figure and artifact."""

from __future__ import annotations

from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warmexp.secrets import holds_secret, without_secrets
from warmexp.tracking import content, sent, workspace
from warmexp.tracking.client import Wanted, first_line, quiet_client
from warmexp.tracking.session import Session

if TYPE_CHECKING:
    from warmexp.tracking.wandb import WandbTracker

FRONT_FILES = ("front.json", "front.csv", "front.png", "quality.png", "report.html")
# Of front.json's runs: too long for a row, or the same in other words.
_NOT_IN_TABLE = (
    "calibration", "survival", "readout", "by_proposal", "settings", "accuracies", "folder", "questions", "unmask", "variant", "parameters",
)  # fmt: skip


def log_study(tracker: Any, front: Any, folder: Path, study_name: str) -> str | None:
    """Send the front of a study. Never raises: what goes wrong is in the sentence.

    Args:
        tracker: the study's.
        front: `Front`, or what front.json holds.
        folder: the study's; the files of the front are in its `front/`.
    Returns:
        a sentence for the user, or None.
    """
    title = getattr(tracker, "title", type(tracker).__name__)
    try:
        front = front if isinstance(front, dict) else front.to_json()
        return tracker.study(without_secrets(front), Path(folder), study_name)
    except Exception as error:  # a tracker never fails a study
        return f"warning: the study was not sent to {title} ({type(error).__name__}); its folder has everything."


def send_to_wandb(tracker: WandbTracker, front: dict[str, Any], folder: Path, name: str) -> str | None:
    group = tracker.group or name
    runs = front["runs"]
    config = {"study": name, "baseline": front["baseline"]["selector"], "x": front["x"], "accuracy": front["accuracy"]}
    tags = sorted({run["task"] for run in runs} | {run["backbone"] for run in runs})
    key, digest = content.study_key(name, front), content.digest(front)
    if there := sent.already(folder, tracker.destination, key, digest):
        return f"W&B has this front already: {there.where}"
    wanted = Wanted(key, f"study {name}", group, "study", [*tags, *tracker.tags], config, digest)
    session = Session(tracker.destination, wanted, folder)
    session.attempt(lambda: session.run.log({"front": _table(front)}))
    session.attempt(lambda: session.run.summary.update(summary_of(front)))
    session.attempt(lambda: session.run.log_artifact(_artifact(wanted.key, front, folder)))
    plotly = quiet_client().Plotly
    session.attempt(lambda: session.run.log({name: plotly(one) for name, one in figures(front).items()}))
    session.close()
    return " ".join(filter(None, (session.note, _workspace(session, front, folder))))


def _workspace(session: Session, front: dict[str, Any], folder: Path) -> str | None:
    """Where the study is online for the first time and wandb-workspaces is installed: a saved view of its group."""
    if (
        not (session.active and session.online)
        or find_spec("wandb_workspaces") is None
        or (folder / workspace.FILE).exists()
    ):
        return None
    try:
        saved = workspace.save(folder, front, session.wanted.group, session.run.entity, session.to.project)
    except Exception as error:  # a view never fails a study
        return f"warning: its workspace was not saved ({without_secrets(first_line(error))})."
    return f"workspace: {saved}"


def summary_of(front: dict[str, Any]) -> dict[str, Any]:
    numbers = {"hypervolume": front["hypervolume"], "runs": len(front["runs"])}
    numbers |= {"runs_on_front": sum(run["on_front"] for run in front["runs"]), "caveats": " ".join(front["caveats"])}
    best = [
        run["saved"]["saved"]
        for run in front["runs"]
        if run.get("saved") and run["on_front"] and not run["is_baseline"]
    ]
    return {
        key: value for key, value in {**numbers, "saved_best": max(best, default=None)}.items() if value is not None
    }


def rows_of(front: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows: one row per run, one column per number, and the settings that vary."""
    rows = []
    for run in front["runs"]:
        told = {key: value for key, value in run.items() if key not in _NOT_IN_TABLE}
        if told.get("seeds"):  # their spread; each of them is a run of its own
            told["seeds"] = {key: value for key, value in told["seeds"].items() if key != "each"}
        row = content.metrics(told)
        rows.append({**row, **{content.flat_key(key): run["settings"].get(key) for key in front["varying"]}})
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return columns, [[row.get(key) for key in columns] for row in rows]


def _table(front: dict[str, Any]) -> Any:
    columns, rows = rows_of(front)
    return quiet_client().Table(columns=columns, data=rows, allow_mixed_types=True)


def figures(front: dict[str, Any]) -> dict[str, Any]:
    """Plotly's, by name. Runs on different questions stand in pictures of their own, under the questions' name."""
    from warmexp.report.interactive import front_figure

    names = content.figure_names(front)
    made = {name: front_figure(front, number) for number, name in enumerate(names)}
    if len(names) > 1:
        for one, group in zip(made.values(), front["groups"], strict=True):
            top = one.layout.margin.t
            one.update_layout(title={"text": escape(group["name"], quote=False)}, margin={"t": top + 40})
    return made


def _artifact(key: str, front: dict[str, Any], folder: Path) -> Any:
    """The front's files and every run's summary; a file in which a secret stands is left out."""
    artifact = quiet_client().Artifact(key, type="front")
    files = {name: folder / "front" / name for name in FRONT_FILES}
    for run in front["runs"]:
        for name in (run.get("seeds") or {}).get("runs") or [run["run_id"]]:  # a point may be several seeds' mean
            files[f"runs/{name}/summary.json"] = _run_folder(run, name, folder) / "summary.json"
    for name, file in files.items():
        if file.is_file() and not holds_secret(file):
            artifact.add_file(str(file), name)
    return artifact


def _run_folder(run: dict[str, Any], name: str, study: Path) -> Path:
    """Beside `studies/`, wherever that was moved; otherwise where front.json says, which may be relative to another
    directory. name: of the run, or of one of the seeds that it is the mean of."""
    beside = study.resolve().parent.parent / name
    return beside if beside.is_dir() else Path(run["folder"]).parent / name
