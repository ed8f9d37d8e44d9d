"""The command that adds what a front lacks: the baseline's runs, on the questions and with the model of runs that are
there."""

from __future__ import annotations

import re
import shlex
from typing import Any

import yaml

from warmexp.analysis.points import DEFAULT_UNMASK, Point
from warmexp.config.keys import conf_dir, usual_options

THRESHOLDS = "tau=0.6,0.7,0.8,0.9"
_KEPT = ("backbone", "task", "schedule", "unmask", "cache", "length")  # what a cold start shares with a warm one
_TOP = {"unmask.tau": "tau", "init.rho": "rho", "init.lam": "lambda", "init.p": "p"}
_PLAIN = re.compile(r"[\w./:+-]+")


def adding(point: Point, selector: str) -> str | None:
    """A command line that runs the baseline beside a run, at several thresholds where its unmasking policy has one.

    Args:
        point: the run, whose backbone, questions and decoding stay. selector: of the baseline (baseline.select); the
            first of several ways is taken.
    Returns:
        None where a setting of the run cannot be written on one line.
    """
    settings = dict(point.settings)
    asked = dict(_typed(word, settings) for word in selector.split("|")[0].split())
    words, defaults = [f"{key}={value}" for key, value in asked.items()], usual_options()
    for group in _KEPT:
        choice = settings.get(f"choices.{group}")
        if choice is None or group in asked:
            continue
        if choice != defaults.get(group):
            words.append(f"{group}={choice}")
        usual = _option(group, str(choice))
        for key, value in settings.items():
            name = key.removeprefix(f"{group}.")
            if not key.startswith(f"{group}.") or key in asked or _TOP.get(key) in asked or key == point.curve:
                continue
            if name in usual and not _same(usual[name], value):
                if (text := _written(value)) is None:
                    return None
                words.append(f"{key}={text}")
    if settings.get("choices.unmask") == DEFAULT_UNMASK and not {"tau", "unmask.tau", "unmask"} & set(asked):
        words.append(THRESHOLDS)
    words.append(f"outputs={_written(str(point.folder.parent)) or point.folder.parent}")
    return "python -m warmexp -m " + " ".join(map(shlex.quote, words))


def _typed(word: str, settings: dict[str, Any]) -> tuple[str, str]:
    """A selector's word as the command line takes it: its key may be the last part of a dotted one."""
    key, _, value = word.partition("=")
    if f"choices.{key}" in settings or "." in key or key in _TOP.values():
        return key, value
    full = next((name for name in settings if name.rpartition(".")[2] == key), key)
    return _TOP.get(full, full), value


def _option(group: str, name: str) -> dict[str, Any]:
    """What a shipped option's file says, as dotted keys; nothing for one of somebody else's."""
    file = conf_dir() / group / f"{name}.yaml"
    said = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
    return said if isinstance(said, dict) else {}


def _same(usual: Any, value: Any) -> bool:
    """Whether a run has the option's own value; one that is computed from others counts as its own."""
    return str(usual) == str(value) or (isinstance(usual, str) and "${" in usual)


def _written(value: Any) -> str | None:
    """A value in Hydra's words."""
    if value is None:
        return "null"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if not isinstance(value, str) or _PLAIN.fullmatch(text):
        return text
    return None if "\n" in text or '"' in text or text.startswith("[") else f'"{text}"'
