"""The W&B client, opened so that it cannot ask, hang or leak. Knows nothing about runs of ours.

Without a key or a network it works offline at once: no prompt, no wait.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from warmexp.secrets import without_secrets
from warmexp.tracking.server import key_in_netrc, server

MODES = ("auto", "online", "offline")
_ANSWER_SECONDS = 3.0
_INIT_SECONDS = 20
_FINISH_SECONDS = 60  # for what is not uploaded by then, the client's own files stay
_RETRY_SECONDS = (
    300.0  # a server that failed is not asked again for this long, so that the jobs of a study do not each wait for it
)
_failed: dict[str, tuple[float, str]] = {}


@dataclass(frozen=True)
class Destination:
    """Where runs go: project, entity (None: the key's own) and mode, one of `MODES`."""

    project: str
    entity: str | None = None
    mode: str = "auto"


@dataclass(frozen=True)
class Wanted:
    """What a W&B run is opened with. key: its id, which makes it the same run whenever it is sent again. content: see
    `sent.Sent`."""

    key: str
    name: str
    group: str | None
    job_type: str
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    content: str | None = None


@dataclass
class Opened:
    """A W&B run (None where W&B is switched off), whether it is online, where it is, and a sentence about it. why: it is
    offline."""

    run: Any
    online: bool
    where: str
    note: str
    why: str = ""


def choose(mode: str) -> tuple[str, str]:
    """online, offline or disabled, and why."""
    asked = os.environ.get("WANDB_MODE", "").lower()
    if os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes") or asked == "disabled":
        return "disabled", "WANDB_DISABLED or WANDB_MODE=disabled is set"
    if asked in ("offline", "dryrun"):
        return "offline", "WANDB_MODE=offline is set"
    if mode == "offline":
        return "offline", "tracker.mode=offline"
    if not (os.environ.get("WANDB_API_KEY") or key_in_netrc(server())):
        return "offline", "no API key: set WANDB_API_KEY or run `wandb login`"
    since, why = _failed.get(server(), (float("-inf"), ""))
    if time.monotonic() - since < _RETRY_SECONDS:
        return "offline", why
    if not _answers(server()):
        return "offline", remember("the server does not answer")
    return "online", ""


def open_run(to: Destination, wanted: Wanted, folder: Path) -> Opened:
    """Begin a W&B run whose files lie in `folder`; offline where online fails.

    Raises:
        Exception: whatever the client raises where it cannot even work offline.
    """
    mode, why = choose(to.mode)
    if mode == "disabled":
        return Opened(None, False, "", f"W&B is off ({why}).")
    wandb = quiet_client()
    options: dict[str, Any] = {
        "project": to.project,
        "entity": to.entity,
        "id": wanted.key,
        **without_secrets({"name": wanted.name, "group": wanted.group, "config": wanted.config}),
        "job_type": wanted.job_type,
        "tags": _tags(wanted.tags) or None,
        "dir": str(folder.resolve()),  # the client's own process keeps the directory it was started in
        "reinit": "finish_previous",
    }
    settings = wandb.Settings(
        silent=True,
        console="off",
        init_timeout=_INIT_SECONDS,
        finish_timeout=_FINISH_SECONDS,
        finish_timeout_raises=True,
        disable_git=True,
        x_disable_stats=True,
        x_disable_meta=True,  # the command line is in it
    )
    if mode == "online":
        try:
            run = wandb.init(mode="online", resume="allow", settings=settings, **options)
            return Opened(run, True, run.url, f"W&B: {run.url}")
        except Exception as error:  # whatever the client raises means: not online
            why = remember(f"the server did not accept the run: {first_line(error)}")
            wandb.teardown()  # the client's own process still holds the run's id
    run = wandb.init(mode="offline", settings=settings, **options)
    where = str(Path(run.dir).parent)
    return Opened(run, False, where, f"W&B run kept offline ({why}) in {where}; to upload it: wandb sync {where}", why)


def _tags(words: list[str]) -> list[str]:
    """W&B refuses a run for a tag that is empty or longer than 64 characters."""
    short = (str(word).strip()[:64].strip() for word in without_secrets(words))
    return list(dict.fromkeys(tag for tag in short if tag))


def quiet_client() -> Any:
    """The client's module, told to print nothing and to report nothing about itself (which it would wait for at
    exit)."""
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    return wandb


def first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def _answers(address: str) -> bool:
    """Whether anything answers there, whatever it says."""
    try:
        urlopen(Request(address, method="HEAD"), timeout=_ANSWER_SECONDS).close()
    except HTTPError:
        return True
    except (URLError, OSError, ValueError):
        return False
    return True


def remember(why: str) -> str:
    """The server failed, and why: it is left alone for a while."""
    _failed[server()] = (time.monotonic(), why)
    return why
