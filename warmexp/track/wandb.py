"""Weights & Biases: the real client, guarded. It mirrors the run folder and is never the only copy.

Without a key or a network it works offline at once: no prompt, no wait. Whatever it does wrong becomes one warning; a tracker never
fails a run.
"""

from __future__ import annotations

import netrc
import os
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from warmexp.errors import check_choice, check_range

MODES = ("auto", "online", "offline")
_SECRET_NAME = re.compile(r"token$|api_?key|password|secret|credential", re.I)
# Keys of ours that look like secrets by name and are none.
_HARMLESS = {"end_tokens", "tokens", "max_new_tokens"}
_PROGRESS_SECONDS = 5.0
_INIT_SECONDS = 20


@dataclass
class WandbTracker:
    """project, entity, group, tags, name: as in `wandb.init` (name defaults to the run id).

    mode: `auto` is online where an API key is configured and the server answers, otherwise offline; `online`; `offline`.
    sample_rows: records shown in the table of samples.
    """

    project: str = "warmexp"
    entity: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    name: str | None = None
    mode: str = "auto"
    sample_rows: int = 20

    def __post_init__(self) -> None:
        check_choice("tracker.mode", self.mode, MODES)
        check_range("tracker.sample_rows", self.sample_rows, 0, 10**6, "the number of records in the table of samples")
        self.note: str | None = None
        self._run: Any = None
        self._broken = False
        self._next = 0.0

    def start(self, run_id: str, config: dict[str, Any], folder: Path) -> None:
        """Begin a W&B run whose files lie in `folder`."""
        self.note, self._run, self._broken, self._next = None, None, False, 0.0
        self._guard(lambda: self._start(run_id, config, folder))

    def progress(self, done: int, total: int, nfe_mean: float, accuracy: float) -> None:
        """Running means, at most every few seconds."""
        if self._run is None or (time.monotonic() < self._next and done < total):
            return
        self._next = time.monotonic() + _PROGRESS_SECONDS
        self._guard(lambda: self._run.log({"progress/questions": done, "progress/nfe_mean": nfe_mean, "progress/accuracy": accuracy}))

    def finish(self, summary: dict[str, Any], records: list[dict[str, Any]], figures: list[Path]) -> None:
        """Summary metrics, a table of samples, the figures; closes the run."""
        if self._run is not None:
            self._guard(lambda: self._finish(summary, records, figures))
            self._guard(lambda: self._run.finish())

    def fail(self, reason: str) -> None:
        """Close the run as failed."""
        if self._run is not None:
            self._guard(lambda: self._run.summary.update({"status": "failed", "reason": reason}))
            self._guard(lambda: self._run.finish(exit_code=1))

    def _start(self, run_id: str, config: dict[str, Any], folder: Path) -> None:
        mode, why = self._choose()
        if mode == "disabled":
            self.note = f"W&B is off ({why})."
            return
        import wandb

        options: dict[str, Any] = {
            "project": self.project,
            "entity": self.entity,
            "group": self.group,
            "tags": list(self.tags) or None,
            "name": self.name or run_id,
            "config": without_secrets(config),
            "dir": str(folder.resolve()),  # the client's own process keeps the directory it was started in
            "reinit": "finish_previous",
        }
        settings = wandb.Settings(silent=True, console="off", init_timeout=_INIT_SECONDS, disable_git=True, x_disable_stats=True)
        if mode == "online":
            try:
                self._run = wandb.init(mode="online", id=run_id, resume="allow", settings=settings, **options)
                self.note = f"W&B: {self._run.url}"
                return
            except Exception as error:  # whatever the client raises means: not online
                why = f"the server did not accept the run: {_first_line(error)}"
        self._run = wandb.init(mode="offline", settings=settings, **options)
        where = Path(self._run.dir).parent
        self.note = f"W&B run kept offline ({why}) in {where}; to upload it: wandb sync {where}"

    def _choose(self) -> tuple[str, str]:
        """The mode, and why."""
        asked = os.environ.get("WANDB_MODE", "").lower()
        if os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes") or asked == "disabled":
            return "disabled", "WANDB_DISABLED or WANDB_MODE=disabled is set"
        if asked in ("offline", "dryrun"):
            return "offline", "WANDB_MODE=offline is set"
        if self.mode == "offline":
            return "offline", "tracker.mode=offline"
        server = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
        if not _has_key(server):
            return "offline", "no API key: set WANDB_API_KEY or run `wandb login`"
        if not _answers(server):
            return "offline", "the server does not answer"
        return "online", ""

    def _finish(self, summary: dict[str, Any], records: list[dict[str, Any]], figures: list[Path]) -> None:
        import wandb

        self._run.summary.update(summary)
        columns = ["id", "question", "proposal", "response", "target", "right", "nfe"]
        rows = [
            [r["id"], r["question"], (r["proposal"] or {}).get("text"), r["response"], r["target"], r["correct"]["flexible"], r["nfe"]]
            for r in records[: self.sample_rows]
        ]
        payload: dict[str, Any] = {"samples": wandb.Table(columns=columns, data=rows)}
        payload |= {f"figures/{path.stem}": wandb.Image(str(path)) for path in figures}
        self._run.log(payload)

    def _guard(self, action: Callable[[], Any]) -> None:
        """Run a call into the client; its first failure becomes one sentence and the tracker goes quiet."""
        if self._broken:
            return
        try:
            action()
        except Exception as error:  # a tracker never fails a run
            self._broken = True
            self.note = f"warning: W&B tracking stopped ({_first_line(error)}); the run folder has everything."


def without_secrets(config: Any) -> Any:
    """A copy without keys that look like secrets and without values that are a secret of the environment."""
    secrets = {value for name, value in os.environ.items() if _SECRET_NAME.search(name) and len(value) >= 8}

    def clean(node: Any) -> Any:
        if isinstance(node, dict):
            return {k: clean(v) for k, v in node.items() if str(k) in _HARMLESS or not _SECRET_NAME.search(str(k))}
        if isinstance(node, (list, tuple)):
            return [clean(v) for v in node]
        if isinstance(node, str) and any(secret in node for secret in secrets):
            return "(removed: a secret of the environment)"
        return node

    return clean(config)


def _has_key(server: str) -> bool:
    """An API key in the environment or in netrc, looked up without asking anybody."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(server).hostname or ""
    for name in filter(None, (os.environ.get("NETRC"), "~/.netrc", "~/_netrc")):
        try:
            if netrc.netrc(os.path.expanduser(name)).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def _answers(server: str, seconds: float = 2.0) -> bool:
    url = urlparse(server)
    try:
        socket.create_connection((url.hostname, url.port or (443 if url.scheme == "https" else 80)), timeout=seconds).close()
        return True
    except OSError:
        return False


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
