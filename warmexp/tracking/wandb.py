"""Weights & Biases mirrors the run folder and is never the only copy; a tracker never fails a run."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from warmexp.errors import UserError, check_choice, check_range
from warmexp.secrets import without_secrets
from warmexp.tracking import content, folders, sent
from warmexp.tracking.client import MODES, Destination, Wanted, quiet_client
from warmexp.tracking.session import Session

_PROGRESS_SECONDS = 5.0
_told_of: set[tuple[Path, str]] = set()  # studies of this process, and why they are offline
_UNSAID = object()
_NOT_IN_A_NAME = set("/\\#?%:")


@dataclass
class WandbTracker:
    """project, entity, group, tags, name: as in `wandb.init` (name defaults to what the run does, in words, group to the study, project
    to WANDB_PROJECT, otherwise warmexp, entity to WANDB_ENTITY, otherwise the API key's own).

    mode: `auto` is online where an API key is configured and the server answers, otherwise offline; `online`;
    `offline`.
    sample_rows: records shown in the table of samples.
    """

    project: str | None = None
    entity: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    name: str | None = None
    mode: str = "auto"
    sample_rows: int = 20

    title = "W&B"

    def __post_init__(self) -> None:
        self.project = self.project or os.environ.get("WANDB_PROJECT") or "warmexp"
        self.entity = self.entity or os.environ.get("WANDB_ENTITY") or None
        check_choice("tracker.mode", self.mode, MODES)
        check_range("tracker.sample_rows", self.sample_rows, 0, 10**6, "the number of records in the table of samples")
        if _NOT_IN_A_NAME & set(self.project):
            raise UserError(
                f"tracker.project={self.project} cannot name a W&B project: leave out"
                f" {' '.join(sorted(_NOT_IN_A_NAME))}"
            )
        self._session: Session | None = None
        self._study: Path | None = None  # the folder of the run's study
        self._said: Any = _UNSAID
        self._next = 0.0

    @property
    def note(self) -> str | None:
        """A sentence about the run that was tracked last: where it is, or why it is not."""
        if self._said is _UNSAID:
            self._said = self._sentence()
        return self._said

    def _sentence(self) -> str | None:
        """Of a study's runs that stay offline, the first says so for all of them."""
        session = self._session
        if session is None or self._study is None or not session.kept_offline:
            return session.note if session else None
        about = (self._study, session.why)
        if about in _told_of:
            return None
        _told_of.add(about)
        return (
            f"W&B: offline ({session.why}); each run of the study is kept in its own folder. To send them all:"
            f" python -m warmexp.tracking.backfill {self._study}"
        )

    @property
    def destination(self) -> Destination:
        return Destination(self.project, self.entity, self.mode)

    def start(self, run_id: str, config: dict[str, Any], folder: Path) -> None:
        """Begin a W&B run whose files lie in `folder`. config: as in config.yaml."""
        group, self._next = content.group_of(config, self.group), 0.0
        self._said, study = _UNSAID, folders.study_of(config)
        self._study = folder.parent / "studies" / study if study else None
        wanted = Wanted(
            key=_key(run_id, group),
            name=self.name or content.run_name(config, run_id),
            group=group,
            job_type="run",
            tags=content.tags(config, self.tags),
            config=content.flat_config(config),
        )
        self._session = Session(self.destination, wanted, folder)
        self._session.attempt(self._define)
        if report := content.report_of(config, run_id):
            self._session.attempt(lambda: self._session.run.config.update({"report": report}, allow_val_change=True))

    def progress(self, done: int, total: int, nfe_mean: float, accuracy: float) -> None:
        """Running means, at most every few seconds."""
        session = self._session
        if session is None or not session.active or (time.monotonic() < self._next and done < total):
            return
        self._next = time.monotonic() + _PROGRESS_SECONDS
        session.attempt(
            lambda: session.run.log(
                {"progress/questions": done, "progress/nfe": nfe_mean, "progress/accuracy": accuracy}
            )
        )

    def finish(self, summary: dict[str, Any], records: list[dict[str, Any]], figures: list[Path]) -> None:
        """Summary metrics, a table of samples, the figures; closes the run."""
        if self._session:
            self._session.attempt(lambda: self._log(summary, records, figures))
            self._session.close()

    def fail(self, reason: str) -> None:
        """Close the run as failed."""
        if self._session and self._session.run:
            ending = {"status": "failed", "reason": without_secrets(reason)}
            self._session.attempt(lambda: self._session.run.summary.update(ending))
            self._session.close(failed=True)

    def mirror(self, run_id: str, config: dict[str, Any], folder: Path) -> None:
        """See to it that W&B has a finished run, in its group of its project: send it from its folder if it is not
        there yet.

        config: as in config.yaml; its study is the group, also of a run that another study has computed.
        """
        self._session, self._said = None, _UNSAID
        if sent.already(folder, self.destination, _key(run_id, content.group_of(config, self.group))):
            return
        self.start(run_id, config, folder)
        self._session.attempt(lambda: self._send(folder))
        self._session.close()

    def study(self, front: dict[str, Any], folder: Path, name: str) -> str | None:
        """Send the front of a study. front: what front.json holds."""
        from warmexp.tracking.study import send_to_wandb

        return send_to_wandb(self, front, folder, name)

    def _send(self, folder: Path) -> None:
        """A finished run's content, unless W&B says that it has it (the note in the folder may be lost, or another
        machine's)."""
        run = self._session.run
        if not (run.resumed and run.summary.get("status") == "finished"):
            self._log(folders.summary(folder), folders.records(folder, self.sample_rows), folders.figures(folder))

    def _define(self) -> None:
        """Each metric's axis, and whether less or more of it is better."""
        run = self._session.run
        run.define_metric("progress/questions", hidden=True)
        run.define_metric("progress/*", step_metric="progress/questions")
        for name, best in content.HEADLINE.items():
            run.define_metric(name, summary=best)

    def _log(self, summary: dict[str, Any], records: list[dict[str, Any]], figures: list[Path]) -> None:
        wandb = quiet_client()
        run = self._session.run
        if summary.get("oracle") and "oracle" not in run.tags:  # whatever the proposer is called
            run.tags = (*run.tags, "oracle")
        run.config.update(content.environment(folders.environment(self._session.folder)), allow_val_change=True)
        metrics = content.metrics(without_secrets(summary))
        payload: dict[str, Any] = {name: metrics[name] for name in content.HEADLINE if name in metrics}
        rows = without_secrets(content.samples(records[: self.sample_rows]))
        if rows:
            payload["samples"] = wandb.Table(columns=content.SAMPLE_COLUMNS, data=rows)
        payload |= {f"figures/{path.stem}": wandb.Image(str(path)) for path in figures}
        run.log(payload)
        run.summary.update(
            metrics
        )  # last: plain numbers, where define_metric leaves {"min": …}, which panels cannot read


def _key(run_id: str, group: str | None) -> str:
    """The id of the W&B run: the one that a sweep's agent waits for, where one has started this process, or that of the
    run itself."""
    return (os.environ.get("WANDB_SWEEP_ID") and os.environ.get("WANDB_RUN_ID")) or content.run_key(run_id, group)
