"""Run folders become points on the NFE–accuracy plane.

A point is read from a run's `config.yaml` and `summary.json` alone (`records.jsonl` only where the summary does not
identify the questions). This module knows nothing about models, decoding or trackers, and asks no method to be
registered: what it shows of a method is what the run's own config says.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from warmexp.config.keys import DECIDING, METHODS, usual_options
from warmexp.errors import UserError
from warmexp.io import read_json
from warmexp.runs.circumstances import circumstances
from warmexp.runs.stored import COUNTED, FOLDER, read_records, read_summary
from warmexp.secrets import without_secrets
from warmexp.stored_config import read_config

FILTERS = ("strict", "flexible")
COLD_START = "mask"  # the init that uses no proposal
DEFAULT_UNMASK = "threshold"  # whose name labels leave out
FIXED_LENGTH = "fixed"  # the length policy under which every question fills its canvas
_SYMBOLS = {"rho": "ρ", "lam": "λ", "lambda": "λ", "p": "p"}  # what a label shows of an init that did not say

Interval = tuple[float, float]
Setting = str | int | float | bool | None


@dataclass(frozen=True)
class Point:
    """One finished run. Accuracies are fractions in [0, 1], NFE is forwards per question, seconds are of the whole
    run."""

    run_id: str
    folder: Path
    label: str  # names the run among those it was collected with
    method: str  # the init
    parameters: str  # of the init, e.g. "ρ=0.5"
    remask: str
    revision: str  # the remask schedule as labels write it, e.g. "+ joint_threshold remask τₑ=0.9"
    unmask: str
    curve: str | None  # the key along which the unmasking policy has a curve, such as unmask.tau
    at: float | None  # its value there
    shown: str  # what is written of the unmasking policy
    proposer: str  # "none" for a cold start
    backbone: str
    task: str
    oracle: bool  # saw the reference solution: never on a front
    status: str
    n: int
    questions: str  # a hash of which questions; points are comparable where it is equal
    nfe: float
    nfe_ci95: Interval
    accuracy_filter: str  # which of the two `accuracy` is
    accuracy_strict: float
    accuracy_strict_ci95: Interval
    accuracy_flexible: float
    accuracy_flexible_ci95: Interval
    proposal_accuracy: float | None  # by the same filter; None for a cold start
    seconds: float
    settings: tuple[tuple[str, Setting], ...] = ()  # the config's leaves, as dotted keys
    split: str | None = None  # of the task's questions; None where the task names none
    fitted_on: tuple[str, ...] = ()  # the splits on which the run's trust map was fitted
    circumstances: tuple[tuple[str, str], ...] = ()  # of its seconds: runs/circumstances.py
    seeds: tuple[int, ...] = ()  # of a point that is several runs' mean (seeds.py)
    model: str = ""  # a hash of the backbone's weights: one name (`checkpoint`) may stand for several

    @property
    def autoregressive(self) -> bool:
        """No question took a forward of the backbone: what was measured is the proposer alone."""
        return self.nfe == 0

    @property
    def ranked(self) -> bool:
        """Whether it may stand on a front: it has not seen the answers, and the backbone took part."""
        return not self.oracle and not self.autoregressive

    @property
    def accuracy(self) -> float:
        return self.accuracy_strict if self.accuracy_filter == "strict" else self.accuracy_flexible

    @property
    def accuracy_ci95(self) -> Interval:
        return self.accuracy_strict_ci95 if self.accuracy_filter == "strict" else self.accuracy_flexible_ci95

    @property
    def variant(self) -> str:
        """The method with its parameters and remask schedule, without proposer and threshold."""
        return " ".join(filter(None, (self.method, self.parameters, self.revision)))


def apart(point: Point) -> str:
    """What tells a run from others of its name, by the last parts of the keys: "(length=eos_stop, block_length=24)", or
    nothing."""
    source = "" if point.proposer == "none" else f"from {point.proposer}"
    name = " ".join(filter(None, (point.variant, source, point.shown)))
    return re.sub(r"[\w.]*\.(\w+)=", r"\1=", point.label.removeprefix(name).strip(" ,"))


def load_point(folder: Path | str, accuracy: str = "flexible") -> Point:
    """Read one run folder.

    Args:
        folder: holds config.yaml and summary.json (and records.jsonl).
        accuracy: "strict" or "flexible", which filter `Point.accuracy` and `Point.proposal_accuracy` follow.
    Raises:
        ValueError: one sentence, where the folder is not that of a finished run or the filter is unknown.
    """
    if accuracy not in FILTERS:
        raise ValueError(f"accuracy={accuracy} is not one of {', '.join(FILTERS)}")
    folder = Path(folder)
    summary, config = without_secrets(_summary(folder)), read_config(folder)
    try:
        return _point(folder, config, summary, accuracy)
    except KeyError as missing:
        raise ValueError(f"{folder}: config.yaml or summary.json lacks {missing}") from None
    except (TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(f"{folder}: config.yaml or summary.json is not that of a run ({error})") from None


def collect(root: Path | str | Iterable[Path | str], accuracy: str = "flexible") -> tuple[list[Point], list[str]]:
    """Read every run folder at or below one or several folders.

    Returns:
        the points, cold starts first and oracle runs last; and one sentence per run folder that was left out, saying
        which and why.
    """
    roots = [root] if isinstance(root, (str, Path)) else list(root)
    points: dict[str, Point] = {}
    left_out: list[str] = []
    for folder in (found for one in roots for found in _run_folders(Path(one), left_out)):
        try:
            point = load_point(folder, accuracy)
        except ValueError as error:
            left_out.append(str(error))
            continue
        first = points.setdefault(point.run_id, point)
        if first.folder.resolve() != folder.resolve():
            left_out.append(f"{folder}: the same run as {first.folder}")
    return sorted(_told_apart(list(points.values())), key=_order), left_out


def _run_folders(root: Path, left_out: list[str]) -> Iterator[Path]:
    """Folders that look like a run's. What lies inside one (figures, a tracker's own files) is not searched, nor is
    what is hidden.

    A study's folder (studies/folder.py) holds no runs but names them; they lie in the outputs folder above it. A folder
    is searched once, whatever links lead to it. What cannot be searched or read is said in `left_out`.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            place = folder.stat()
            if not folder.is_dir() or (place.st_dev, place.st_ino) in seen:
                continue
            seen.add((place.st_dev, place.st_ino))
            names = sorted(folder.iterdir(), reverse=True)
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, until Python 3.12
            if folder == root or not isinstance(error, FileNotFoundError):
                left_out.append(f"{folder}: it cannot be searched ({getattr(error, 'strerror', None) or error})")
            continue
        if (folder / "jobs").is_dir() and (named := list(named_runs(folder, left_out))):
            yield from named
        elif (folder / "summary.json").exists() or all(
            (folder / name).exists() for name in ("config.yaml", "records.jsonl")
        ):
            yield folder
        else:
            waiting += [child for child in names if not child.name.startswith(".")]


def named_runs(study: Path, left_out: list[str]) -> Iterator[Path]:
    """The folders of the runs that a study's job files name; a sentence in `left_out` for each file that cannot be
    read."""
    for file in sorted((study / "jobs").glob("*.json"), key=lambda file: (len(file.name), file.name)):
        try:
            name = read_json(file).get("folder")
        except UserError as error:
            left_out.append(str(error))
            continue
        if name is None:
            continue
        if isinstance(name, str) and re.match(FOLDER, name):
            yield study.parent.parent / name
        else:
            left_out.append(f"{file}: its folder is not the name of one")


def _summary(folder: Path) -> dict[str, Any]:
    if not (folder / "summary.json").exists():
        raise ValueError(f"{folder}: no summary.json, so the run is not finished")
    try:
        return read_summary(folder, COUNTED)
    except UserError as error:
        raise ValueError(str(error)) from None


def _point(folder: Path, config: dict[str, Any], summary: dict[str, Any], accuracy: str) -> Point:
    choices = config["choices"]
    init, unmask = config.get("init") or {}, config.get("unmask") or {}
    proposal_accuracy = summary.get(f"proposal_accuracy_{accuracy}")
    labels = config.get("labels") or _labels_before(init, unmask)  # older runs did not say
    settings = _settings(config)
    at = dict(settings).get(labels.get("curve"))
    name = str(choices.get("unmask", "none"))
    point = Point(
        run_id=str(summary["run_id"]),
        folder=folder,
        label="",
        method=str(choices["init"]),
        parameters=" ".join(
            filter(
                None,
                (
                    str(labels.get("init") or ""),
                    _named("+ {}", choices.get("evidence"), labels.get("evidence")),
                    _named("by {}", choices.get("guide"), labels.get("guide")),
                    "" if choices.get("anchor", "none") == "none" else "re-anchored",
                    _named(
                        "+ {}", choices.get("attention") if labels.get("attention") else None, labels.get("attention")
                    ),
                    _named("+ {}", choices.get("length") if labels.get("length") else None, labels.get("length")),
                    _named("+ {}", choices.get("feed"), labels.get("feed")),
                    _named("+ {}", choices.get("draft"), labels.get("draft")),
                    _named("+ {}", choices.get("ensemble"), labels.get("ensemble")),
                    _named("+ {}", choices.get("watch"), labels.get("watch")),
                ),
            )
        ),
        remask=str(choices.get("remask", "none")),
        revision=_named("+ {} remask", choices.get("remask"), labels.get("remask")),
        unmask=name,
        curve=labels.get("curve"),
        at=None if at is None else float(at),
        shown=str(labels.get("unmask") or name) if name == DEFAULT_UNMASK else _named("{}", name, labels.get("unmask")),
        proposer="none" if proposal_accuracy is None else str(choices.get("proposer", "none")),
        backbone=str(choices.get("backbone", "none")),
        task=str(choices.get("task", "none")),
        oracle=bool(summary.get("oracle", False)),
        status=str(summary["status"]),
        n=int(summary["n"]),
        questions=str(summary.get("questions_sha256") or _questions(folder)),
        nfe=float(summary["nfe_mean"]),
        nfe_ci95=_interval(summary["nfe_ci95"]),
        accuracy_filter=accuracy,
        accuracy_strict=float(summary["accuracy_strict"]),
        accuracy_strict_ci95=_interval(summary["accuracy_strict_ci95"]),
        accuracy_flexible=float(summary["accuracy_flexible"]),
        accuracy_flexible_ci95=_interval(summary["accuracy_flexible_ci95"]),
        proposal_accuracy=None if proposal_accuracy is None else float(proposal_accuracy),
        seconds=float(summary["seconds_total"]),
        settings=settings,
        split=None if (split := dict(settings).get("task.split")) is None else str(split),
        fitted_on=_fitted_on(folder),
        circumstances=tuple(sorted(circumstances(config, folder).items())),
        model=str(((config.get("identity") or {}).get("backbone") or {}).get("model", "")),
    )
    source = "" if point.proposer == "none" else f"from {point.proposer}"
    return replace(point, label=" ".join(filter(None, (point.variant, source, point.shown))))


def _named(form: str, name: object, shown: object) -> str:
    """`joint_threshold τₑ=0.9`: a choice, in the given form, and what its label says; nothing for `none`."""
    if name in (None, "none"):
        return ""
    said = str(shown or "").removeprefix(f"{name} ")  # older runs' labels of topk have its name in them
    return " ".join(filter(None, (form.format(name), said)))


def _fitted_on(folder: Path) -> tuple[str, ...]:
    """What the copy of a trust map that lies in the run's folder says; nothing where there is none, or it does not
    say."""
    try:
        splits = read_json(folder / "calibration.json")["notes"]["splits"]
    except (UserError, KeyError, TypeError):
        return ()
    return tuple(str(split) for split in splits) if isinstance(splits, list) else ()


def _told_apart(points: list[Point]) -> list[Point]:
    """Runs that would share a label get the settings in which they differ appended, or the start of their hash."""
    by_label: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        by_label[point.label].append(point)
    out = []
    for label, group in by_label.items():
        if len(group) == 1:
            out += group
            continue
        settings = [dict(point.settings) for point in group]
        keys = telling(settings)
        extra = [", ".join(f"{key}={one.get(key, '-')}" for key in keys) for one in settings]
        if len(set(extra)) < len(extra):
            extra = [
                ", ".join(filter(None, (e, p.run_id.rpartition("-")[2][:8]))) for p, e in zip(group, extra, strict=True)
            ]
        if len(set(extra)) < len(extra):
            extra = [p.run_id for p in group]
        out += [replace(p, label=f"{label} ({e})") for p, e in zip(group, extra, strict=True)]
    return out


def telling(settings: list[dict[str, Setting]]) -> list[str]:
    """Keys that together tell settings apart as far as any do, each of which is needed for it; what tells most comes
    first, and of equals what is a choice, then what is a number, then what is short."""
    values = {key: [str(one.get(key)) for one in settings] for one in settings for key in one}
    telling = {key: column for key, column in values.items() if len(set(column)) > 1}
    words = {key: any(isinstance(one.get(key), str) for one in settings) for key in telling}

    def rank(key: str) -> tuple:
        return -len(set(telling[key])), not key.startswith("choices."), words[key], len(key), key

    kept: list[str] = []
    for key in sorted(telling, key=rank):
        before = {tuple(telling[k][i] for k in kept) for i in range(len(settings))}
        after = {tuple(telling[k][i] for k in (*kept, key)) for i in range(len(settings))}
        if len(after) > len(before):
            kept.append(key)
    return sorted(kept)


def _order(point: Point) -> tuple:
    cold = point.method == COLD_START
    return (
        point.oracle,
        not cold,
        point.proposer,
        point.method,
        point.parameters,
        point.remask,
        point.unmask,
        point.at or 0.0,
    )


def _settings(config: dict[str, Any]) -> tuple[tuple[str, Setting], ...]:
    """The leaves of the config that describe the method, as dotted keys; class names are left out, the choices stand
    for them."""
    kept = {name: config[name] for name in (*DECIDING, "choices", "seed") if name in config}
    if isinstance(kept.get("choices"), dict):  # runs from before a group came have none of it
        kept["choices"] = {group: usual_options()[group] for group in METHODS} | kept["choices"]
    return tuple(
        sorted(
            ((key, value) for key, value in _leaves("", kept) if not key.endswith("_target_")), key=lambda leaf: leaf[0]
        )
    )


def _leaves(prefix: str, node: Any) -> list[tuple[str, Setting]]:
    if not isinstance(node, dict):
        return [(prefix, node if node is None or isinstance(node, (str, int, float, bool)) else str(node))]
    return [leaf for key, value in node.items() for leaf in _leaves(f"{prefix}.{key}" if prefix else str(key), value)]


def _questions(folder: Path) -> str:
    try:
        ids = sorted(record["id"] for record in read_records(folder))
    except UserError as error:
        raise ValueError(str(error)) from None
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def _interval(pair: Any) -> Interval:
    low, high = pair
    return float(low), float(high)


def _shown(key: str, value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not (key == "p" and value == 0)


def _labels_before(init: dict[str, Any], unmask: dict[str, Any]) -> dict[str, str | None]:
    """The labels of runs from before methods gave their own."""
    if "tau" not in unmask:
        return {"init": _parameters(init)}
    return {"init": _parameters(init), "unmask": f"τ={_number(unmask['tau'])}", "curve": "unmask.tau"}


def _parameters(init: dict[str, Any]) -> str:
    """An init's numbers, and how long a soft prior lasts where that is longer than the first forward."""
    shown = [f"{sign}={_number(init[key])}" for key, sign in _SYMBOLS.items() if _shown(key, init.get(key))]
    duration = init.get("duration")
    return " ".join([*shown, duration] if isinstance(duration, str) and duration != "first" else shown)


def _number(value: float) -> str:
    return f"{value:.4g}"
