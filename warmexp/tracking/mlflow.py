"""MLflow: a local database, or the server that MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from warmexp.errors import UserError
from warmexp.secrets import without_secrets
from warmexp.tracking.mirror import Mirror, Told, quiet

_LONGEST = 500  # characters of a parameter, which every server takes
_AT_ONCE = 100
# What MLflow sends to whichever server it is given. A configuration from elsewhere may name a server; it cannot have them.
_LOGINS = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_AUTH")
_KEPT_LOGIN = Path("~/.mlflow/credentials")  # a file of a name and a password, of no server in particular


@dataclass
class MlflowTracker(Mirror):
    """project: the experiment. uri: of the tracking server or database; None: MLFLOW_TRACKING_URI, else MLflow's own
    default (`mlflow.db` in the current folder, which `mlflow ui` shows)."""

    uri: str | None = None

    kind, title, module = "mlflow", "MLflow", "mlflow"

    def __post_init__(self) -> None:
        super().__post_init__()
        mine = [name for name in _LOGINS if os.environ.get(name)]
        mine += [str(_KEPT_LOGIN)] if _KEPT_LOGIN.expanduser().exists() else []
        if (
            mine
            and self.uri
            and "://" in self.uri
            and not _same_server(self.uri, os.environ.get("MLFLOW_TRACKING_URI", ""))
        ):
            raise UserError(
                f"tracker.uri={self.uri} is not the server that MLFLOW_TRACKING_URI names, and MLflow would send it the"
                f" login of {mine[0]}: set MLFLOW_TRACKING_URI to that server, or take {mine[0]} away."
            )

    def _client(self) -> Any:
        quiet(MLFLOW_HTTP_REQUEST_MAX_RETRIES="1", MLFLOW_HTTP_REQUEST_TIMEOUT="20", MLFLOW_DISABLE_TELEMETRY="true")
        from mlflow import MlflowClient

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        return MlflowClient(tracking_uri=self.uri)

    def _place(self) -> str:
        return without_secrets(f"{self._client().tracking_uri} {self.project}")

    def _open(self, told: Told) -> str:
        self._at = client = self._client()
        known = client.get_experiment_by_name(self.project)
        experiment = known.experiment_id if known else client.create_experiment(self.project)
        (*_, found) = [None, *client.search_runs([experiment], f"tags.`warmexp.key` = '{told.key}'")]
        tags = {"warmexp.key": told.key, "job_type": told.job_type, **({"study": told.group} if told.group else {})}
        tags |= {"method": " ".join(told.tags)[:_LONGEST]}
        if told.report:
            tags["mlflow.note.content"] = f"Shown in the study's report: `{told.report}`"
        made = found or client.create_run(experiment, run_name=told.name, tags=tags)
        self._id = made.info.run_id
        if found:
            client.update_run(self._id, status="RUNNING")
        known_values = made.data.params
        values = {key: str(value)[:_LONGEST] for key, value in told.config.items() if key not in known_values}
        self._batch("params", [self._entity("Param")(key, value) for key, value in values.items()])
        return f"experiment {self.project} ({without_secrets(client.tracking_uri)})"

    def _scalars(self, values: dict[str, float], step: int | None) -> None:
        metric, now = self._entity("Metric"), int(time.time() * 1000)
        self._batch("metrics", [metric(key, value, now, step or 0) for key, value in values.items()])

    def _words(self, values: dict[str, str]) -> None:
        self._batch("tags", [self._entity("RunTag")(key, value[:_LONGEST]) for key, value in values.items()])

    def _table(self, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        import json

        table = {"columns": columns, "data": rows}  # the form in which MLflow keeps tables, without pandas
        self._at.log_text(self._id, json.dumps(table, ensure_ascii=False, default=str), f"{name}.json")

    def _file(self, file: Path, name: str) -> None:
        self._at.log_artifact(self._id, str(file), name.rpartition("/")[0] or None)

    def _close(self, failed: bool) -> None:
        if getattr(self, "_id", None):
            self._at.set_terminated(self._id, "FAILED" if failed else "FINISHED")

    def _batch(self, what: str, values: list[Any]) -> None:
        for i in range(0, len(values), _AT_ONCE):
            self._at.log_batch(self._id, **{what: values[i : i + _AT_ONCE]})

    @staticmethod
    def _entity(name: str) -> Any:
        from mlflow import entities

        return getattr(entities, name)


def _same_server(one: str, other: str) -> bool:
    """Whether two addresses go to one server; a database in a file is no server that anything is sent to."""
    here, there = urlsplit(one), urlsplit(other)
    return here.scheme in ("file", "sqlite") or (here.scheme, here.netloc) == (there.scheme, there.netloc)
