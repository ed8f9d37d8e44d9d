"""`python -m warmexp.tracking.backfill outputs/…`: send finished runs and studies to a tracker, each once.

A run's id there follows from the run, so whatever is sent again (by this command, by a resumed run, by `wandb sync`) is
the same run; `wandb.json` (`mlflow.json`, …) in the folder tells what need not be sent again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from warmexp.config.instantiate import build
from warmexp.config.keys import option_files
from warmexp.console import Parser, complain, ending, show
from warmexp.errors import UserError
from warmexp.secrets import without_secrets
from warmexp.tracking import content, sent
from warmexp.tracking.client import choose, first_line
from warmexp.tracking.found import Item, find
from warmexp.tracking.mirror import Mirror, already
from warmexp.tracking.study import log_study
from warmexp.tracking.wandb import WandbTracker

WANDB = "wandb"
_THERE = "is there already"


def send(item: Item, tracker: WandbTracker | Mirror) -> str:
    """Send one item if it is not there yet; what came of it, in words."""
    if item.front:
        return str(log_study(tracker, item.front, item.folder, item.study))
    if isinstance(tracker, Mirror) and already(tracker, item.folder, *_told(item, tracker)):
        return _THERE
    config = {**item.config, "study": {**(item.config.get("study") or {}), "name": item.study}}
    tracker.mirror(config["run_id"], config, item.folder)
    return tracker.note or ("sent" if isinstance(tracker, Mirror) else _THERE)


def planned(item: Item, tracker: WandbTracker | Mirror) -> str:
    """What `send` would do; nothing is written or sent."""
    key, digest = _told(item, tracker)
    if isinstance(tracker, Mirror):
        there, kept = already(tracker, item.folder, key, digest), ""
    else:
        entry = sent.already(item.folder, tracker.destination, key, digest)
        there, kept = entry is not None, "" if entry is None or entry.online else entry.where
    if there:
        return f"is kept offline already in {kept}" if kept else _THERE
    group = tracker.group or item.study
    return f"would be sent to project {tracker.project}" + (f", group {group}" if group else "")


def _told(item: Item, tracker: WandbTracker | Mirror) -> tuple[str, str | None]:
    """Under which key an item is known to a tracker, and which of its states."""
    if item.front:
        front = without_secrets(item.front)
        return content.study_key(item.study, front), content.digest(front)
    return content.run_key(item.config["run_id"], tracker.group or item.study), None


def main(arguments: list[str] | None = None) -> int:
    """The command line. Exit status: 0, 1 (something was not sent), 2 (a user's mistake)."""
    asked = _parser().parse_args(arguments)
    try:
        items, left_out = _items(asked.folders)
        _tracker(asked, {})  # a mistake in it is nobody else's
        if not asked.dry_run and asked.tracker == WANDB:
            _check(asked)
    except UserError as error:
        complain(f"warmexp: {error}")
        return 2
    for sentence in left_out:
        complain(f"left out: {sentence}")
    failures = 0
    online = asked.tracker == WANDB and not asked.offline and not asked.dry_run
    for number, item in enumerate(items, 1):
        said = _attempt(planned if asked.dry_run else send, item, asked)
        failures += said.startswith("warning")
        show(f"[{number}/{len(items)}] {item.name}: {said}")
        if online and choose("online")[0] != "online":
            complain("warmexp: the server has stopped answering; the same command goes on from here.")
            return 1
    return 1 if failures else 0


def _attempt(action, item: Item, asked: argparse.Namespace) -> str:
    """One folder that cannot be read does not keep the others at home."""
    try:
        return action(item, _tracker(asked, item.tracker))
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


def _tracker(asked: argparse.Namespace, own: dict[str, Any]) -> WandbTracker | Mirror:
    """The tracker that is asked for. own: how a run was tracked when it was computed; the command line wins over it.

    Raises:
        UserError: a word that this tracker has no use for, or a package that is absent.
    """
    said = {key: value for key in ("project", "entity", "group") if (value := getattr(asked, key))}
    if asked.tracker == WANDB:
        return WandbTracker(**{**own, **said, "tags": asked.tag, "mode": "offline" if asked.offline else "online"})
    if asked.entity or asked.offline:
        word = "--entity" if asked.entity else "--offline"
        raise UserError(f"{word} is W&B's: leave it out with --tracker {asked.tracker}.")
    file = next(file for file in option_files("tracker") if file.stem == asked.tracker)
    node = OmegaConf.merge(OmegaConf.load(file), {"tags": asked.tag}, {**own, **said})
    return build("tracker", {key: value for key, value in node.items() if key != "entity"})


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
        "--tracker", choices=[WANDB, "mlflow", "tensorboard", "trackio"], default=WANDB, help="default: wandb"
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
