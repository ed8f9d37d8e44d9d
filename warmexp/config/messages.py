"""Hydra's and OmegaConf's complaints in one sentence that names the key, the value and the remedy."""

from __future__ import annotations

import re

from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from warmexp.config.plan import GROUPS, PLAIN, SHARED, option_files, options
from warmexp.decode.strategy import LISTS
from warmexp.errors import UserError, closest

# Configurations that come with a plugin of Hydra, and what installs it.
PLUGINS = {
    "hydra/launcher/joblib": "'warmexp[sweeps]'",
    "hydra/launcher/submitit_slurm": "'warmexp[sweeps]'",
    "hydra/launcher/submitit_local": "'warmexp[sweeps]'",
    "hydra/launcher/ray": "hydra-ray-launcher",
    "hydra/sweeper/optuna": "'warmexp[sweeps]'",
}


# What Hydra and OmegaConf raise for a user's mistake.
MISTAKES = (HydraException, OmegaConfBaseException)


def explain(error: Exception) -> str:
    """The sentence for an error that a command line or a configuration file caused."""
    if isinstance(error, UserError):
        return str(error)
    if ours := _of_a_resolver(error):
        return str(ours)
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        if str(error.missing_cfg_file) in PLUGINS:
            return (
                f"{error.missing_cfg_file} comes with a plugin that is not installed: pip install"
                f" {PLUGINS[str(error.missing_cfg_file)]}."
            )
        choices = list(error.options or [])
        elsewhere = next((other for other in GROUPS if other != group and option in options(other)), None)
        near = (
            f", {elsewhere}={f'[{option}]' if elsewhere in LISTS else option} is"
            if elsewhere
            else closest(option, choices)
        )
        return f"{group}={option} is not an option{near}: choose one of {', '.join(choices) or 'none'}."
    unknown = re.search(r"Could not (?:override|append to config|find) '([^']+)'", text)
    if unknown:
        return _unknown(unknown[1].partition("@")[0])
    override = re.search(r"[Ee]rror parsing override '([^']*)'", text)
    if override or "LexerNoViableAlt" in text or "no viable alternative" in text or "mismatched input" in text:
        what = f"'{override[1]}'" if override else text.splitlines()[0].split(": ")[-1]
        return f"{what} cannot be read: write KEY=VALUE, quote special characters, and see --help."
    multiple = re.search(r"Multiple values for (\S+)\.", text)
    if multiple:
        return f"{multiple[1]} is already chosen: write {multiple[1]}=… without the +."
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{error.full_key}: {text.splitlines()[0]}."
    return " ".join(text.split()) + ("" if text.rstrip().endswith(".") else ".")


def _of_a_resolver(error: BaseException) -> UserError | None:
    """The complaint of one of our resolvers, which OmegaConf wraps in others of its own."""
    inner: BaseException | None = error
    while isinstance(inner, OmegaConfBaseException):
        inner = inner.__cause__ or inner.__context__
    return inner if isinstance(inner, UserError) else None


def _unknown(key: str) -> str:
    """An override of a key that is not there."""
    parent, _, name = key.rpartition(".")
    if parent:
        group = parent.split(".")[0]
        if group in GROUPS:
            keys = {k for f in option_files(group) for k in OmegaConf.load(f) if not str(k).startswith("_")}
            return (
                f"{key} is not a key of the chosen {group}{closest(name, keys)}: `--cfg job --package {group}` shows"
                " the keys it has."
            )
    names = [*GROUPS, *SHARED, *PLAIN, "study", "experiment"]
    near = closest(name, names)
    for group in GROUPS:
        if name in options(group) and not near:
            near = f", did you mean {group}={name}?"
    return f"{key} is not a key of the configuration{near or ': it has ' + ', '.join(names)}."
