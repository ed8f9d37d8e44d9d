"""What MLflow, TensorBoard and Trackio wrote, read back with their own readers in one form."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

NEEDS = {
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
    "tensorboard": ("tensorboard",),
    "trackio": ("trackio", "pandas"),
}
KINDS = [
    pytest.param(
        kind,
        marks=pytest.mark.skipif(
            any(find_spec(one) is None for one in needs), reason=f"pip install 'warmexp[{kind}]' to test tracker={kind}"
        ),
    )
    for kind, needs in NEEDS.items()
]


def made(kind: str, **options: Any) -> Any:
    from warmexp.api import composed
    from warmexp.config.instantiate import build

    cfg, _ = composed([f"tracker={kind}"])
    return build("tracker", {**dict(cfg.tracker), **options})


def runs(kind: str, outputs: Path) -> list[dict[str, Any]]:
    """Each run: name, config and numbers as text and float, words, tables (rows), images (how many), status."""
    return {"mlflow": _mlflow, "tensorboard": _tensorboard, "trackio": _trackio}[kind](outputs)


def _mlflow(outputs: Path) -> list[dict[str, Any]]:
    from mlflow import MlflowClient

    client, found = MlflowClient(), []
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id]):
            where = Path(run.info.artifact_uri.removeprefix("file://"))
            tables = {file.stem: json.loads(file.read_text())["data"] for file in where.glob("*.json")}
            tags = dict(run.data.tags)
            found.append({
                "project": experiment.name, "name": run.info.run_name, "group": tags.get("study"), "config": dict(run.data.params),
                "numbers": dict(run.data.metrics), "words": tags, "tables": tables, "images": len([*where.rglob("*.png")]),
                "status": run.info.status,
            })  # fmt: skip
    return found


def _tensorboard(outputs: Path) -> list[dict[str, Any]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = []
    for folder in sorted({file.parent for file in outputs.glob("tensorboard/**/events.out.tfevents.*")}):
        events = EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0})
        events.Reload()
        tags = events.Tags()
        texts = {
            name.removesuffix("/text_summary"): events.Tensors(name)[-1].tensor_proto.string_val[0].decode()
            for name in tags["tensors"]
            if name.endswith("/text_summary")
        }
        numbers = {name.removeprefix("summary/"): events.Scalars(name)[-1].value for name in tags["scalars"]}
        tables = {name: _rows(text) for name, text in texts.items() if text.startswith("| ")}
        found.append({
            "project": folder.parent.parent.name, "name": folder.name, "group": folder.parent.name, "config": dict(tables.pop("config")),
            "numbers": numbers, "words": texts, "tables": tables, "images": len(tags["images"]),
            "hparams": "_hparams_/session_start_info" in events.summary_metadata,
        })  # fmt: skip
    return found


def _rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines()[2:]]


def _trackio(outputs: Path) -> list[dict[str, Any]]:
    from trackio.sqlite_storage import SQLiteStorage

    found = []
    for project in SQLiteStorage.get_projects():
        for name in SQLiteStorage.get_runs(project):
            config = SQLiteStorage.get_run_config(project, name) or {}
            logged = {key: value for row in SQLiteStorage.get_logs(project, name) for key, value in row.items()}
            kinds = {key: value.get("_type") for key, value in logged.items() if isinstance(value, dict)}
            tables = {
                key: [[*row.values()] for row in logged[key]["_value"]]
                for key, kind in kinds.items()
                if kind == "trackio.table"
            }
            found.append({
                "project": project, "name": name, "group": config.get("_Group"), "config": {k: str(v) for k, v in config.items()},
                "numbers": {k: v for k, v in logged.items() if isinstance(v, (int, float)) and not isinstance(v, bool)},
                "words": {k: v for k, v in logged.items() if isinstance(v, str)}, "tables": tables,
                "images": sum(kind == "trackio.image" for kind in kinds.values()),
            })  # fmt: skip
    return found
