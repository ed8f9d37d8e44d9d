"""`python -m warmexp.tracking.backfill outputs/…`: send finished runs and studies to Weights & Biases, each once.

A run's id in W&B follows from the run, so whatever is sent again (by this command, by a resumed run, by `wandb sync`)
is the same W&B run; `wandb.json` in the folder tells what need not be sent again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from warmexp.console import Parser, complain, ending, show
from warmexp.errors import UserError
from warmexp.secrets import without_secrets
from warmexp.tracking import content, sent
from warmexp.tracking.client import choose, first_line
from warmexp.tracking.found import Item, find
from warmexp.tracking.study import log_study
from warmexp.tracking.wandb import WandbTracker


def send(item: Item, tracker: WandbTracker) -> str:
    """Send one item if it is not there yet; what came of it, in words."""
    if item.front:
        return str(log_study(tracker, item.front, item.folder, item.study))
    config = {**item.config, "study": {**(item.config.get("study") or {}), "name": item.study}}
    tracker.mirror(config["run_id"], config, item.folder)
    return tracker.note or "is there already"


def planned(item: Item, tracker: WandbTracker) -> str:
    """What `send` would do; nothing is written or sent."""
    group = tracker.group or item.study
    if item.front:
        front = without_secrets(item.front)
        key, digest = content.study_key(item.study, front), content.digest(front)
    else:
        key, digest = content.run_key(item.config["run_id"], group), None
    if entry := sent.already(item.folder, tracker.destination, key, digest):
        return "is there already" if entry.online else f"is kept offline already in {entry.where}"
    return f"would be sent to project {tracker.project}" + (f", group {group}" if group else "")


def main(arguments: list[str] | None = None) -> int:
    """The command line. Exit status: 0, 1 (something was not sent), 2 (a user's mistake)."""
    asked = _parser().parse_args(arguments)
    try:
        items, left_out = _items(asked.folders)
        WandbTracker(**_said(asked))  # a mistake in it is nobody else's
        if not asked.dry_run:
            _check(asked)
    except UserError as error:
        complain(f"warmexp: {error}")
        return 2
    for sentence in left_out:
        complain(f"left out: {sentence}")
    failures = 0
    mode = "offline" if asked.offline else "online"
    for number, item in enumerate(items, 1):
        said = _attempt(planned if asked.dry_run else send, item, asked)
        failures += said.startswith("warning")
        show(f"[{number}/{len(items)}] {item.name}: {said}")
        if mode == "online" and not asked.dry_run and choose("online")[0] != "online":
            complain("warmexp: the server has stopped answering; the same command goes on from here.")
            return 1
    return 1 if failures else 0


def _attempt(action, item: Item, asked: argparse.Namespace) -> str:
    """One folder that cannot be read does not keep the others at home."""
    try:
        return action(item, WandbTracker(**{**item.tracker, **_said(asked)}))
    except UserError as error:
        return f"warning: not sent: {without_secrets(str(error))}"
    except Exception as error:
        return f"warning: not sent ({type(error).__name__}: {without_secrets(first_line(error))})."


def _items(roots: list[Path]) -> tuple[list[Item], list[str]]:
    for root in roots:
        if not root.is_dir():
            raise UserError(f"{root} is not a folder: name run folders, or a folder of them such as outputs.")
    items, left_out = find([root.resolve() for root in roots])
    if not items:
        raise UserError(
            f"{' '.join(map(str, roots))}: no finished run here; name run folders, or a folder of them such as outputs."
        )
    return items, left_out


def _said(asked: argparse.Namespace) -> dict[str, Any]:
    """What the command line says about the tracker; it wins over what a run was computed with."""
    said = {key: value for key in ("project", "entity", "group") if (value := getattr(asked, key))}
    return {**said, "tags": asked.tag, "mode": "offline" if asked.offline else "online"}


def _check(asked: argparse.Namespace) -> None:
    mode, why = choose("offline" if asked.offline else "online")
    if mode == "disabled":
        raise UserError(f"W&B is off ({why}): unset it to send runs.")
    if mode == "offline" and not asked.offline:
        raise UserError(
            f"W&B cannot be reached ({why}); try again when it can, or add --offline to write files for `wandb sync`."
        )


def _parser() -> Parser:
    parser = Parser(prog="python -m warmexp.tracking.backfill", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="run folders, study folders, or a folder of them"
    )
    parser.add_argument(
        "--project", help="default: the one that the run was computed with, otherwise WANDB_PROJECT or warmexp"
    )
    parser.add_argument(
        "--entity", help="default: the one that the run was computed with, otherwise WANDB_ENTITY or the API key's own"
    )
    parser.add_argument("--group", help="default: the one that the run was computed with, otherwise its study")
    parser.add_argument("--tag", action="append", default=[], help="may be given several times")
    parser.add_argument("--offline", action="store_true", help="write files for `wandb sync` instead of sending")
    parser.add_argument("--dry-run", action="store_true", help="say what would be sent; nothing is written or sent")
    return parser


if __name__ == "__main__":
    with ending():
        sys.exit(main())
