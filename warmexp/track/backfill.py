"""`python -m warmexp.track.backfill outputs/…`: send finished runs and studies to Weights & Biases, each once.

A run's id in W&B follows from the run, so whatever is sent again (by this command, by a resumed run, by `wandb sync`) is the same W&B
run; `wandb.json` in the folder tells what need not be sent again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warmexp.errors import UserError
from warmexp.track import content, folders, sent
from warmexp.track.client import choose
from warmexp.track.secrets import without_secrets
from warmexp.track.study import log_study
from warmexp.track.wandb import WandbTracker


@dataclass(frozen=True)
class Item:
    """A finished run's folder in one group, or (front given) a study's folder. study: the group, None for a run outside studies."""

    folder: Path
    study: str | None
    front: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        return f"study {self.study}" if self.front else self.folder.name + (f" (study {self.study})" if self.study else "")


def find(roots: list[Path]) -> tuple[list[Item], list[str]]:
    """What there is to send at or below some folders: runs, then studies; and a sentence for each run that cannot be sent.

    A run goes to the group of every study that lists it, and to that of the study it was computed in; a study's folder stands for its
    runs.
    """
    from warmexp.front.points import collect

    studies = [study for root in roots for study in _study_folders(root)]
    runs = {(folder.resolve(), study.name): Item(folder, study.name) for study in studies for folder in _runs_of(study)}
    points, left_out = collect([root for root in roots if root not in studies], "flexible")
    for point in points:
        name = (folders.config(point.folder).get("study") or {}).get("name")
        if name or not any(folder == point.folder.resolve() for folder, _ in runs):
            runs.setdefault((point.folder.resolve(), name), Item(point.folder, name))
    fronts = [Item(study, study.name, front) for study in studies if (front := _front(study))]
    return [*runs.values(), *fronts], left_out


def send(item: Item, tracker: WandbTracker) -> str:
    """Send one item if it is not there yet; what came of it, in words."""
    if item.front:
        return log_study(tracker, item.front, item.folder, item.study) or "nothing to send"
    config = folders.config(item.folder)
    config["study"] = {**(config.get("study") or {}), "name": item.study}
    tracker.mirror(config["run_id"], config, item.folder)
    return tracker.note or "is there already"


def planned(item: Item, tracker: WandbTracker) -> str:
    """What `send` would do, without asking any server."""
    group = tracker.group or item.study
    if item.front:
        front = without_secrets(item.front)
        key, digest = content.study_key(item.study, front), content.digest(front)
    else:
        key, digest = content.run_key(item.folder.name, group), None
    if entry := sent.already(item.folder, tracker.destination, key, digest):
        return "is there already" if entry.online else f"is kept offline already in {entry.where}"
    return f"would be sent to project {tracker.project}" + (f", group {group}" if group else "")


def main(arguments: list[str] | None = None) -> int:
    """The command line. Exit status: 0, 1 (something was not sent), 2 (a user's mistake)."""
    asked = _parser().parse_args(arguments)
    try:
        items, left_out = _items(asked.folders)
        tracker = _tracker(asked)
        mode, why = choose(tracker.mode)
        if mode == "offline" and not asked.offline and not asked.dry_run:
            raise UserError(f"W&B cannot be reached ({why}); try again when it can, or add --offline to write files for `wandb sync`.")
        if mode == "disabled":
            raise UserError(f"W&B is off ({why}): unset it to send runs.")
    except UserError as error:
        print(f"warmexp: {error}", file=sys.stderr)
        return 2
    for sentence in left_out:
        print(f"left out: {sentence}", file=sys.stderr)
    failures = 0
    for number, item in enumerate(items, 1):
        said = planned(item, tracker) if asked.dry_run else send(item, tracker)
        failures += said.startswith("warning")
        print(f"[{number}/{len(items)}] {item.name}: {said}", flush=True)
    return 1 if failures else 0


def _items(roots: list[Path]) -> tuple[list[Item], list[str]]:
    for root in roots:
        if not root.is_dir():
            raise UserError(f"{root} is not a folder: name run folders, or a folder of them such as outputs.")
    items, left_out = find(roots)
    if not items:
        raise UserError(f"{' '.join(map(str, roots))}: no finished run here; name run folders, or a folder of them such as outputs.")
    return items, left_out


def _tracker(asked: argparse.Namespace) -> WandbTracker:
    return WandbTracker(
        project=asked.project, entity=asked.entity, group=asked.group, tags=asked.tag, mode="offline" if asked.offline else "online"
    )


def _study_folders(root: Path) -> Iterator[Path]:
    if (root / "jobs").is_dir():
        yield root
    elif (root / "studies").is_dir():
        yield from sorted(folder for folder in (root / "studies").iterdir() if (folder / "jobs").is_dir())


def _runs_of(study: Path) -> Iterator[Path]:
    """The finished runs of a study; their folders are relative to the folder that holds `studies/`."""
    for file in sorted((study / "jobs").glob("*.json")):
        try:
            name = json.loads(file.read_text(encoding="utf-8")).get("folder")
        except (OSError, ValueError, AttributeError):
            continue
        if name and (study.parent.parent / name / "summary.json").is_file():
            yield study.parent.parent / name


def _front(study: Path) -> dict[str, Any] | None:
    try:
        front = json.loads((study / "front" / "front.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return front if isinstance(front, dict) and front.get("format") == 1 else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m warmexp.track.backfill", description=__doc__.split("\n\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="run folders, study folders, or a folder of them")
    parser.add_argument("--project", default="warmexp")
    parser.add_argument("--entity", help="default: the API key's own")
    parser.add_argument("--group", help="default: the study")
    parser.add_argument("--tag", action="append", default=[], help="may be given several times")
    parser.add_argument("--offline", action="store_true", help="write files for `wandb sync` instead of sending")
    parser.add_argument("--dry-run", action="store_true", help="say what would be sent; nothing is written or sent")
    return parser


if __name__ == "__main__":
    sys.exit(main())
