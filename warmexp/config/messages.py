"""Hydra's and OmegaConf's complaints in one sentence that names the key, the value and the remedy."""

from __future__ import annotations

import re

import yaml
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from warmexp.config.keys import GROUPS, LISTS, STUDY, SYNONYMS, TOP, conf_dir, option_files, options
from warmexp.errors import UserError, closest

# Configurations that come with a plugin of Hydra, and what installs it.
PLUGINS = {
    "hydra/launcher/joblib": "'warmexp[sweeps]'",
    "hydra/launcher/submitit_slurm": "'warmexp[sweeps]'",
    "hydra/launcher/submitit_local": "'warmexp[sweeps]'",
    "hydra/launcher/ray": "hydra-ray-launcher",
}
OPTUNA = (
    "hydra/sweeper=optuna is not supported: write hydra/sweeper=search, which searches with today's Optuna and takes"
    " the same choices and intervals."
)


# What Hydra and OmegaConf raise for a user's mistake.
MISTAKES = (HydraException, OmegaConfBaseException, yaml.YAMLError)


def _broken(error: yaml.YAMLError) -> str:
    """Of a file that is not YAML."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}" if mark else "a configuration file"
    said = getattr(error, "problem", None) or getattr(error, "context", None) or str(error) or "it cannot be parsed"
    why = " ".join(str(said).split())
    return f"{where} is not YAML ({why}): quote what has special characters, and indent by spaces alone."


def explain(error: Exception) -> str:
    """The sentence for an error that a command line or a configuration file caused."""
    if isinstance(error, UserError):
        return str(error)
    if ours := _of_a_resolver(error):
        return str(ours)
    if isinstance(error, yaml.YAMLError):
        return _broken(error)
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        if str(error.missing_cfg_file) == "hydra/sweeper/optuna":
            return OPTUNA
        if str(error.missing_cfg_file) in PLUGINS:
            return (
                f"{error.missing_cfg_file} comes with a plugin that is not installed: pip install"
                f" {PLUGINS[str(error.missing_cfg_file)]}."
            )
        choices = _choices(group, option, list(error.options or []))
        if not group:
            return f"--config-name={option} is no configuration: leave it out, there is one, config."
        others = [other for other in GROUPS if other != group and option in options(other) and option != "none"]
        elsewhere = next(iter(others), None)
        near = (
            f", {elsewhere}={f'[{option}]' if elsewhere in LISTS else option} is"
            if elsewhere
            else closest(option, choices)
        )
        if group in LISTS and option == "none":
            near = f", to have none is {group}=[]"
        shown = f"{group}={option}"
        if not group.startswith("hydra/"):
            shown = str(error.missing_cfg_file).replace("/", "=", 1)
            group = group.partition("/")[0]
        if group in ("backbone", "proposer") and "/" in shown and not near:
            kind = "checkpoint" if group == "backbone" else "hf"
            near = f", a model of the hub or a folder is {group}={kind} {group}.path={shown.partition('=')[2]}"
        return f"{shown} is not an option{near}: {_of(choices)}."
    unknown = re.search(r"Could not (?:override|append to config|find) '([^']+)'", text)
    if unknown:
        if "@" in unknown[1]:
            return f"{unknown[1]} cannot be read: an option has one place, so write GROUP=OPTION without an @."
        return _unknown(unknown[1])
    override = re.search(r"[Ee]rror parsing override '([^']*)'", text)
    if override or "LexerNoViableAlt" in text or "no viable alternative" in text or "mismatched input" in text:
        # of a study's file; the words of a command line were read before
        what = f"'{override[1]}'" if override else text.splitlines()[0].split(": ")[-1]
        return f"{what} cannot be read: write KEY=VALUE, and quote the value where it has special characters."
    multiple = re.search(r"Multiple values for (\S+)\.", text)
    if multiple:
        return f"{multiple[1]} is already chosen: write {multiple[1]}=… without the +."
    gone = re.search(r"Could not delete from config. '([^']*)' does not exist", text)
    if gone:
        return f"~{gone[1]}: there is nothing to take away; {gone[1]}=null leaves a key its default."
    merged = re.search(r"Error merging override (\S+)", text)
    if merged:
        return (
            f"{merged[1]} does not fit what that key holds: `--cfg job`, or `--cfg hydra`, shows what there is"
            f" (a list is written {merged[1].partition('=')[0]}=[…])."
        )
    lost = re.search(r"Interpolation key '([^']*)' not found", text)
    if lost and isinstance(error, OmegaConfBaseException):
        return (
            f"{error.full_key or 'a value'}: ${{{lost[1]}}} refers to a key of the configuration that is not there:"
            f" write {{{lost[1]}}} for a placeholder, or the name of a key."
        )
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{error.full_key}: {text.splitlines()[0]}."
    at = re.search(r"full_key: *(\S+)", text)
    told = " ".join(re.sub(r"\s+(full_key|reference_type|object_type)[:=][^\n]*", "", text).split())
    told += f" (at {at[1]})" if at else ""
    if "Cannot merge DictConfig with ListConfig" in told or "Cannot merge ListConfig with DictConfig" in told:
        told += " (a list stands where there are keys, or keys where there is a list)"
    return told + ("" if told.endswith(".") else ".")


def _of(choices: list[str]) -> str:
    return f"choose one of {', '.join(choices)}" if choices else "there is no file of that name"


def _of_a_resolver(error: BaseException) -> UserError | None:
    """The complaint of one of our resolvers, which OmegaConf wraps in others of its own."""
    inner: BaseException | None = error
    while isinstance(inner, OmegaConfBaseException):
        inner = inner.__cause__ or inner.__context__
    return inner if isinstance(inner, UserError) else None


def _choices(group: str, option: str, found: list[str]) -> list[str]:
    """The options of a group, those in its folders with their paths."""
    if group in LISTS:  # Hydra does not say them of a list
        return options(group)
    top = group.partition("/")[0]
    folder = conf_dir() / top
    if top != "experiment" or not folder.is_dir():
        return found
    inside = [file.relative_to(folder).with_suffix("").as_posix() for file in sorted(folder.rglob("*.yaml"))]
    path = f"{group}/{option}".partition("/")[2]
    return [name for name in inside if name.startswith(f"{path}/")] or inside


def _unknown(key: str) -> str:
    """An override of a key that is not there."""
    parent, _, name = key.rpartition(".")
    top = parent.split(".")[0]
    if top in GROUPS:
        keys = {k for f in option_files(top) for k in OmegaConf.load(f) if not str(k).startswith("_")}
        having = [file.stem for file in option_files(top) if name in OmegaConf.load(file)]
        if having:
            return f"{key} is not a key of the chosen {top}: {top}={', '.join(having)} has it."
        return (
            f"{key} is not a key of the chosen {top}{closest(name, keys)}: `--cfg job --package {top}` shows"
            " the keys it has."
        )
    if top == "study":
        return f"{key} is not a key of study{closest(name, STUDY)}; it has {', '.join(STUDY)}."
    if top == "hydra":
        return f"{key} is not a key of Hydra's: `--cfg hydra --package {parent}` shows what is there."
    if key in SYNONYMS:
        return f"{key} is not a key of the configuration, did you mean {SYNONYMS[key]}?"
    names = TOP
    near = next(
        (f", did you mean {group}={name}?" for group in GROUPS if name in options(group) and name != "none"), ""
    )
    near = near or _of_a_group(name) or closest(name, names) or closest(name.lower(), names)
    return f"{key} is not a key of the configuration{near or ': it has ' + ', '.join(names) + '.'}"


def _of_a_group(name: str) -> str:
    """', did you mean task.limit=…?' where a group's options have a key of that name."""
    having = {file.parent.name for file in option_files() if name in OmegaConf.load(file)}
    ours = [group for group in GROUPS if group in having]
    return f", did you mean {' or '.join(f'{group}.{name}=VALUE' for group in ours)}?" if ours else ""
