"""What of a run or a study W&B is told: flat configuration, tags, metrics, table of samples. No client in here.

Every key is a plain scalar under a name without dots (W&B's filters read dots as nesting), and the words that people
type are the names: `init`, `proposer`, `rho`, `lambda`, `tau` …, so that parallel coordinates and scatter panels offer
them as they are.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from warmexp.config.keys import DECIDING, METHODS
from warmexp.secrets import without_secrets

# Written by their group, typed at the top: the value that counts is the group's, defaults included.
_SHORT = {"rho": "rho", "lam": "lambda", "lambda": "lambda", "p": "p", "tau": "tau"}
_PLAIN = ("seed", "batch_size", "device", "run_id")
HEADLINE = {
    "nfe_mean": "min", "full_forward_equivalents_mean": "min", "token_forwards_mean": "min", "seconds_total": "min",
    "accuracy_strict": "max", "accuracy_flexible": "max", "tokens_per_nfe": "max", "tokens_per_second": "max",
}  # fmt: skip


def flat_config(config: dict[str, Any]) -> dict[str, Any]:
    """A run's resolved configuration as scalars.

    The option chosen in a group is the group's name (`init: token_inject`), what its keys hold is `init_rho` or, where
    people type it as a key of its own, `rho`; `study` is the study's name.
    """
    choices = config.get("choices") or {}
    flat = {group: choices[group] for group in DECIDING if choices.get(group)}
    flat |= {key: config[key] for key in _PLAIN if key in config}
    study = (config.get("study") or {}).get("name")
    flat |= {"study": study} if study else {}
    for group in DECIDING:
        if group == "proposer" and choices.get("proposer") == "none":
            continue
        for key, value in (config.get(group) or {}).items():
            if key != "_target_":
                flat |= _leaves(flat_key(f"{group}.{key}"), value)
    return flat


def flat_key(dotted: str) -> str:
    """The name in `flat_config` of a key of the configuration: `init.rho` is rho, `choices.init` is init."""
    group, _, key = dotted.partition(".")
    if group == "choices":
        return key
    return _SHORT[key] if key in _SHORT and group in ("init", "unmask") else dotted.replace(".", "_")


def environment(found: dict[str, Any]) -> dict[str, Any]:
    """What environment.json holds as scalars: `environment_device`, `environment_packages_torch` …"""
    return without_secrets(_leaves("environment", found)) if found else {}


def _leaves(prefix: str, node: Any) -> dict[str, Any]:
    if isinstance(node, dict):
        return {name: leaf for key, value in node.items() for name, leaf in _leaves(f"{prefix}_{key}", value).items()}
    if isinstance(node, (list, tuple)):
        return {prefix: ", ".join(map(str, node))}
    return {prefix: node}


def tags(config: dict[str, Any], more: list[str]) -> list[str]:
    """Method, proposer (`oracle` is one), remask schedule, backbone and task, and what the user adds."""
    choices = config.get("choices") or {}
    found = [choices.get(group) for group in ("init", "proposer", "remask", "backbone", "task")]
    return list(dict.fromkeys([*(tag for tag in found if tag and tag != "none"), *more]))


def group_of(config: dict[str, Any], group: str | None) -> str | None:
    """The tracker's own group, or the study."""
    return group or (config.get("study") or {}).get("name")


def run_name(config: dict[str, Any], run_id: str) -> str:
    """What a run does, in words, and the hash that tells it from others: token_inject ρ=0.5 · lab_weak · τ=0.7 · ef5b70."""
    choices, labels = config.get("choices") or {}, config.get("labels") or {}

    def part(group: str, usual: str) -> str:
        chosen = choices.get(group) or ""
        return " ".join(filter(None, ("" if chosen == usual else chosen, labels.get(group))))

    proposer = choices.get("proposer") or "none"
    parts = [part("init", ""), "" if proposer == "none" else proposer]
    usual = {"unmask": "threshold", "schedule": "blocks", "length": "fixed"}
    parts += [part(group, usual.get(group, "none")) for group in METHODS if group != "init"]
    seed = config.get("seed")
    parts += [f"seed {seed}" if seed else "", run_id.rpartition("-")[2]]
    return " · ".join(filter(None, parts))


REPORT = "studies/{}/front/report.html"  # in the outputs folder


def report_of(config: dict[str, Any], run_id: str) -> str | None:
    """Where the study's report shows a run, as an address within the outputs folder; None outside studies."""
    study = (config.get("study") or {}).get("name")
    return f"{REPORT.format(study)}#/run/{run_id}" if study else None


def run_key(run_id: str, group: str | None) -> str:
    """A run's id in W&B: the same whenever it is sent. A run that two studies share is one run in each of their
    groups."""
    return run_id if group is None else f"{_word(run_id)}-{_digest(group)}"


def study_key(study: str, front: dict[str, Any]) -> str:
    """A study's id in W&B: the same study of other questions or another baseline is another."""
    return f"study-{_word(study)}-{_digest(study, front['baseline']['selector'], *sorted(front['questions']))}"


def figure_names(front: dict[str, Any]) -> list[str]:
    """Of the pictures of a front, one for each set of questions."""
    several = len(front["groups"]) > 1
    return [f"front_figure_{number}" if several else "front_figure" for number, _ in enumerate(front["groups"], 1)]


def short(key: str) -> str:
    """Eight characters that tell a key from others, for clients that know a run by its name."""
    return _digest(key)


def digest(front: dict[str, Any]) -> str:
    """Of what front.json holds."""
    return _digest(json.dumps(front, sort_keys=True, default=str))


def metrics(summary: dict[str, Any]) -> dict[str, Any]:
    """A run's summary as scalars; an interval becomes two."""
    flat: dict[str, Any] = {}
    for key, value in summary.items():
        if isinstance(value, list) and len(value) == 2:
            flat |= {f"{key}_low": value[0], f"{key}_high": value[1]}
        else:
            flat |= _leaves(key, value)
    return {key: value for key, value in flat.items() if value is not None}


SAMPLE_COLUMNS = ["id", "question", "proposal", "response", "target", "right", "nfe"]


def samples(records: list[dict[str, Any]]) -> list[list[Any]]:
    """A row per record; None where a record of an earlier version says nothing."""
    return [
        [
            *(r["id"], r.get("question"), (r.get("proposal") or {}).get("text"), r.get("response"), r.get("target")),
            *((r.get("correct") or {}).get("flexible"), r.get("nfe")),
        ]
        for r in records
    ]


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:96]


def _digest(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]
