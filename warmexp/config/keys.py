"""Groups, keys and where the configuration lies: all that is known of a command line before anything is composed.

Nothing here needs torch, so that help, completion and mistakes are answered at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from warmexp.config.devices import workers
from warmexp.config.plugins import conf_folders

# The kinds of strategies: those of decode/strategy.py, which needs torch and is not loaded for their names.
METHODS = (
    "init", "unmask", "remask", "evidence", "schedule", "cache", "length",
    "anchor", "feed", "draft", "ensemble", "watch", "guide", "attention",
)  # fmt: skip
LISTS = ("evidence",)  # groups of which several options can be chosen at once
DECIDING = ("backbone", "proposer", *METHODS, "task")  # what results depend on
GROUPS = (*DECIDING, "tracker")
# Always in a run's identity; the others only where they are not what every run had before there was a choice.
STRATEGIES = ("init", "unmask", "remask", "cache", "length")
# Keys people type; groups read them as ${top:KEY,DEFAULT}.
SHARED = {
    "rho": "init=token_inject",
    "lambda": "init=embed_interp",
    "p": "init=embed_interp",
    "tau": "unmask=threshold",
}
PLAIN = {"seed": int, "device": (str, ListConfig), "batch_size": int, "engine": str, "outputs": str}
# What a command line may set, at the top.
TOP = (*GROUPS, *SHARED, *PLAIN, "share", "study", "experiment")
GREEK = {"ρ": "rho", "λ": "lambda", "τ": "tau"}
ENGINES = ("fast", "graphs", "plain")
STUDY = ("name", "baseline", "margin", "endpoint", "confirm")
MARGIN = 0.01  # of non-inferiority, as a share of the questions: what study.margin=null stands for
ENDPOINTS = {
    "cost": "the difference of cost to the paired baseline run, where accuracy is non-inferior",
    "accuracy": "the difference of accuracy to the paired baseline run",
    "saved": "the cost saved at equal accuracy",
}
BASELINE = "init=mask remask=none"  # what study.baseline=null stands for
# What other programs call a key of ours.
SYNONYMS = {
    "model": "backbone=NAME",
    "method": "init=NAME",
    "gpu": "device=cuda:0",
    "gpus": "device=cuda:all",
    "dataset": "task=NAME",
    "lam": "lambda=VALUE",
    "limit": "task.limit=NUMBER",
    "n": "task.limit=NUMBER",
    "num_samples": "task.limit=NUMBER",
    "steps": "unmask=topk unmask.steps_per_block=NUMBER",
    "gen_length": "length.canvas_length=NUMBER",
    "max_new_tokens": "length.canvas_length=NUMBER",
    "threshold": "tau=VALUE",
    "wandb": "tracker=wandb",
    "output_dir": "outputs=FOLDER",
    "out": "outputs=FOLDER",
}
_TOP = re.compile(r"\$\{top:(\w+)")

OmegaConf.register_new_resolver(
    "top", lambda name, default, *, _root_: default if _root_.get(name) is None else _root_[name], replace=True
)
OmegaConf.register_new_resolver("workers", workers, replace=True)


def conf_dir() -> Path:
    """The Hydra configuration: inside the package when installed from a wheel, beside it in a checkout."""
    return _shipped("conf")


@cache
def usual_options() -> Mapping[str, str]:
    """group -> the option that is chosen where nothing is said."""
    listed = OmegaConf.load(conf_dir() / "config.yaml")["defaults"]
    return {str(key): str(value) for one in listed if isinstance(one, DictConfig) for key, value in one.items()}


def keys_of(group: str) -> set[str]:
    """The keys of the option that is chosen where nothing is said."""
    return {str(key) for key in OmegaConf.load(conf_dir() / group / f"{usual_options()[group]}.yaml")}


def sweeps_dir() -> Path:
    """The named studies, found like `conf_dir`."""
    return _shipped("sweeps")


def _shipped(name: str) -> Path:
    package = Path(__file__).resolve().parent.parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def margin_of(study: DictConfig) -> float:
    """Of non-inferiority, as a share of the questions."""
    return MARGIN if study.get("margin") is None else float(study.margin)


def endpoint_of(study: DictConfig) -> str:
    """The primary endpoint, one of ENDPOINTS."""
    return study.get("endpoint") or next(iter(ENDPOINTS))


def baseline_of(study: DictConfig) -> str:
    """The selector of the baseline's runs (analysis/baseline.py); a list of them is several ways to be one."""
    given = study.baseline
    return " | ".join(given) if isinstance(given, ListConfig) else given or BASELINE


def options(group: str) -> list[str]:
    """The options a group has."""
    return sorted({p.stem for p in option_files(group)})


def option_files(group: str = "*") -> list[Path]:
    """The YAML files of a group's options, or of all groups': the project's own and those of trusted packages."""
    return [file for folder in (conf_dir(), *conf_folders()) for file in sorted(folder.glob(f"{group}/*.yaml"))]


def reads(cfg: DictConfig, key: str) -> bool:
    """Whether the chosen options have a use for a key: a shared one that they read, or one of their own."""
    if key in SHARED:
        return key in keys_read(cfg)
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(cfg, parent) if parent else cfg
    return isinstance(node, DictConfig) and name in node


def keys_read(cfg: DictConfig) -> set[str]:
    """The shared keys that the chosen options look up."""
    return {key for group in GROUPS for text in _texts(cfg._get_node(group)) for key in _TOP.findall(text)}


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """`OmegaConf.to_container(cfg, resolve=True)`, in a fraction of its time: few of the nodes refer to others."""
    nodes = {key: cfg._get_node(key) for key in cfg}
    if any("${" in str(node._value()) for node in nodes.values() if not isinstance(node, DictConfig | ListConfig)):
        return OmegaConf.to_container(cfg, resolve=True)
    return {
        key: OmegaConf.to_container(node, resolve=True) if any("${" in text for text in _texts(node)) else plain(node)
        for key, node in nodes.items()
    }


def plain(node: Any) -> Any:
    """What stands under a node, as it is written."""
    below = node._value()
    if isinstance(below, dict):
        return {key: plain(one) for key, one in below.items()}
    return [plain(one) for one in below] if isinstance(below, list) else below


def _texts(node: Any) -> Iterator[str]:
    """The texts under a node, as they are written; what is a reference itself is one."""
    below = node._value()
    if isinstance(below, str):
        yield below
    elif isinstance(below, dict | list):
        for one in below.values() if isinstance(below, dict) else below:
            yield from _texts(one)


def readers(key: str) -> str:
    """The group options that read a shared key, from the files themselves."""
    files = option_files()
    found = [f"{f.parent.name}={f.stem}" for f in files if key in _TOP.findall(f.read_text(encoding="utf-8"))]
    return ", ".join(found) or "no group"
