"""Trackio, Hugging Face's local tracker: a live dashboard without an account, by `trackio show`."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warmexp.tracking import content
from warmexp.tracking.mirror import Mirror, Told, quiet


@dataclass
class TrackioTracker(Mirror):
    """Runs are kept in trackio's own folder (TRACKIO_DIR, else in the Hugging Face cache), unless TRACKIO_SPACE_ID or
    TRACKIO_SERVER_URL send them elsewhere."""

    kind, title, module = "trackio", "Trackio", "trackio"

    def _open(self, told: Told) -> str:
        quiet(HF_HUB_DISABLE_TELEMETRY="1")
        import trackio

        with redirect_stdout(io.StringIO()):  # it greets
            self._run = trackio.init(
                project=self.project,
                name=f"{told.name} {content.short(told.key)}",
                group=told.group,
                config={**told.config, "tags": ", ".join(told.tags), "job_type": told.job_type},
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        return f"trackio show --project '{self.project}'"

    def _scalars(self, values: dict[str, float], step: int | None) -> None:
        self._run.log(dict(values), **({} if step is None else {"step": step}))

    def _words(self, values: dict[str, str]) -> None:
        if values:
            self._run.log(dict(values))

    def _table(self, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        import pandas
        import trackio

        self._run.log({name: trackio.Table(dataframe=pandas.DataFrame(rows, columns=columns))})

    def _file(self, file: Path, name: str) -> None:
        import trackio

        if file.suffix == ".png":
            self._run.log({name: trackio.Image(str(file))})

    def _close(self, failed: bool) -> None:
        import trackio

        with redirect_stdout(io.StringIO()):
            trackio.finish()  # the run that was begun last, which is this one; it also forgets it
