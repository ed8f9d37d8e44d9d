"""What a configuration may make Hydra and Python's logging do: known classes, and nothing else that it names.

Hydra instantiates the classes named by `hydra.callbacks`, `hydra.launcher` and `hydra.sweeper`, and logging those of
`hydra.job_logging` and `hydra.hydra_logging`; a configuration from somebody else could name any. `CheckedLoader` looks
at every configuration as soon as it is composed, before Hydra acts on it, in this process and in the workers of a
launcher, whatever Hydra's own policy is. The classes of our own groups are checked where they are built
(instantiate.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import hydra._internal.hydra as hydra_internal
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import DictConfig, ListConfig, OmegaConf

from warmexp.config import remembered
from warmexp.config.keys import plain
from warmexp.config.messages import MISTAKES, OPTUNA
from warmexp.config.strangers import check_references
from warmexp.config.variables import let
from warmexp.errors import UserError

CALLBACKS = frozenset({"warmexp.studies.end.Asked", "hydra.experimental.callbacks.LogJobReturnCallback"})
LAUNCHERS = frozenset({
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "hydra_plugins.warmexp_launchers.Local",
    "hydra_plugins.warmexp_launchers.Slurm",
    "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher",
    "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher",
})  # fmt: skip
SWEEPERS = frozenset({
    "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
    "hydra_plugins.warmexp_sweeper.StudySweeper",
    "hydra_plugins.warmexp_search.Search",
})  # fmt: skip
# Where in Hydra's node a class may be named, and which. *: any one key.
_TARGETS = {
    ("callbacks", "*"): CALLBACKS,
    ("launcher",): LAUNCHERS,
    ("sweeper",): SWEEPERS,
}
_HANDLERS = frozenset(
    {
        "logging.StreamHandler",
        "logging.FileHandler",
        "logging.NullHandler",
        "logging.Handler",
        "rich.logging.RichHandler",
    }
)
_STREAMS = frozenset({"ext://sys.stdout", "ext://sys.stderr"})
# Environment variables that a file may set for a job. Others (WARMEXP_PLUGINS, PATH, LD_PRELOAD, WANDB_BASE_URL, …)
# decide what runs and who is told.
_VARIABLES = re.compile(
    r"WARMEXP_(IF_BUSY|BEHIND)|(OMP|MKL|OPENBLAS|NUMEXPR)_NUM_THREADS|CUDA_(VISIBLE_DEVICES|LAUNCH_BLOCKING)|TOKENIZERS_PARALLELISM"
    r"|PYTORCH_(CUDA_)?ALLOC_CONF|CUBLAS_WORKSPACE_CONFIG|(HF_HUB|TRANSFORMERS|HF_DATASETS)_OFFLINE"
)
# Of a launcher: lines of a batch script, and where the pickles lie that its jobs run. With the value that needs no
# typing.
_TYPED_ONLY = {
    "setup": None,
    "additional_parameters": None,
    "submitit_folder": "${hydra.sweep.dir}/.submitit/%j",
    "temp_folder": None,
}
# An interpolation whose value is a text or a number whatever a file says.
_PLAIN = re.compile(
    r"\$\{(?:hydra[.:](?:job\.(?:name|id|num|override_dirname|config_name)|sweep\.(?:dir|subdir)|run\.dir|runtime\.(?:cwd|output_dir))"
    r"|now:[^${}]*|workers:|python_version:\w*|oc\.env:[^${}]*)\}"
)
# Where a log may be written: beside what else a run or a study writes, under a plain name.
_LOG = re.compile(
    r"(\$\{hydra[.:](runtime\.output_dir|run\.dir|sweep\.dir)\}|\$\{outputs\})/(\$\{hydra[.:]job\.(name|id|num)\}|[\w=+-]|\.(?!\.))+\.log"
)
# What decides where that is, with the values that need no typing.
_PLACES = {
    ("run", "dir"): (".",),
    ("sweep", "dir"): ("${outputs}/studies/${study.name}",),
    ("sweep", "subdir"): (".", "${hydra.job.num}", "${hydra:job.num}"),
    ("job", "name"): ("warmexp",),
}
_REFERENCE = re.compile(r"\$\{[\w.]+\}")
_SOURCES = re.compile(
    r"(?:file://|pkg://(?:hydra(?:\.conf)?|hydra_plugins\.[\w.]+|warmexp\.[\w.]+)$|structured://$|(?!\w+://)).*", re.S
)


class CheckedLoader(remembered.RememberingLoader):
    """Hydra's loader; it hands out no configuration that `check` refuses."""

    def load_configuration(self, config_name: str | None, overrides: list[str], *more: Any, **named: Any) -> DictConfig:
        let(overrides)
        with _one_sentence():
            cfg = super().load_configuration(config_name, overrides, *more, **named)
        check_references(plain(cfg))
        check(cfg, overrides)
        return cfg

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        typed = OmegaConf.to_container(
            master_config.hydra.overrides, resolve=False
        )  # a study's file is no command line
        let([*typed["hydra"], *typed["task"]])
        with _one_sentence():
            cfg = super().load_sweep_config(master_config, sweep_overrides)
        check_references(plain(cfg))
        check(cfg, typed["hydra"])
        return cfg

    def ensure_main_config_source_available(self) -> None:
        for source in self.config_search_path.get_path():
            _check_source(source.path)
        super().ensure_main_config_source_available()

    def _process_config_searchpath(self, config_name: str | None, parsed_overrides: Any, repo: Any) -> None:
        found = repo.load_config(config_path=config_name) if config_name is not None else None
        primary = OmegaConf.select(found.config, "hydra.searchpath") if found is not None else None
        typed = [word.value() for word in parsed_overrides if word.get_key_element() == "hydra.searchpath"]
        for paths in (primary, *typed):
            for path in paths if isinstance(paths, (list, ListConfig)) else ():
                _check_source(path)
        super()._process_config_searchpath(config_name, parsed_overrides, repo)


def install() -> None:
    """From now on Hydra makes its loader from ours. Called before anything is composed; calling it again changes
    nothing."""
    if not issubclass(getattr(hydra_internal, "ConfigLoaderImpl", object), ConfigLoaderImpl):
        raise ImportError("this version of hydra-core is not known to warmexp: install hydra-core>=1.3.8,<1.5")
    hydra_internal.ConfigLoaderImpl = CheckedLoader
    remembered.install()


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Hydra and OmegaConf fail in a hundred places of their own where a file holds another kind of thing than a key
    takes."""
    try:
        yield
    except MISTAKES as error:
        if str(error):
            raise
        raise _not_composed("a key holds another kind of thing than it takes") from None
    except RecursionError:
        raise _not_composed("something in it refers to itself, such as a list of defaults to its own file") from None
    except (ValueError, TypeError, AttributeError, LookupError, AssertionError) as error:
        raise _not_composed(" ".join(str(error).split()) or type(error).__name__) from None


def _not_composed(why: str) -> UserError:
    return UserError(
        f"the configuration cannot be composed ({why}): look at the files of --config-dir, plugins and +sweep, and at"
        " the words of the command line."
    )


def check(cfg: DictConfig, typed: Sequence[str]) -> None:
    """Refuse a composed configuration that names what may not run.

    typed: the words of the command line.
    Raises:
        UserError: names the key, the value and what is allowed.
    """
    node = OmegaConf.to_container(cfg.hydra, resolve=False)
    for name in ("launcher", "sweeper"):
        if not isinstance(node.get(name), dict | None):
            raise UserError(f"hydra.{name}={node[name]} is no {name}: choose one by hydra/{name}=NAME.")
    if "hydra_optuna_sweeper" in str((node["sweeper"] or {}).get("_target_")):
        raise UserError(OPTUNA)
    for name in ("callbacks", "launcher", "sweeper"):
        for path, value in _leaves((name,), node.get(name)):
            _check_text(path, value)
            if "_target_" in path:
                _check_target(path, value)
    for name in ("job_logging", "hydra_logging"):
        for path, value in _leaves((name,), node.get(name)):
            _check_text(path, value)
            _check_logging(path, value, typed)
    _check_typed_only(node, typed)


def _leaves(path: tuple[str, ...], node: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from _leaves((*path, str(name)), value)
    elif isinstance(node, list):
        for value in node:
            yield from _leaves((*path, "[]"), value)
    else:
        yield path, node


def _refuse(path: Sequence[str], value: Any, remedy: str) -> NoReturn:
    raise UserError(f"hydra.{'.'.join(path)}={value} is refused: {remedy}.")


def _check_text(path: tuple[str, ...], value: Any) -> None:
    """Nothing whose value could be a node that was not looked at."""
    if not isinstance(value, str) or "${" not in value:
        return
    alone = _REFERENCE.fullmatch(value) is not None  # amid other text, a reference gives text
    left = _PLAIN.sub("", value) if alone else _REFERENCE.sub("", _PLAIN.sub("", value))
    if "${" in left:
        _refuse(path, value, "write the value itself there")


def _check_target(path: tuple[str, ...], value: Any) -> None:
    place = path[:-1] if path[-1] == "_target_" else path
    allowed = _TARGETS.get(place) or _TARGETS.get((*place[:-1], "*")) or frozenset()
    if not isinstance(value, str) or value not in allowed:
        known = f"only {', '.join(sorted(allowed))} may be named there" if allowed else "no class may be named there"
        _refuse(path, value, known)


def _is_typed(key: str, typed: Sequence[str]) -> bool:
    """Whether words of the command line set the key, or a part of it, or what it is a part of."""
    words = [word.lstrip("+~").partition("=")[0] for word in typed]
    return any(f"{word}.".startswith(f"{key}.") or f"{key}.".startswith(f"{word}.") for word in words)


def _check_logging(path: tuple[str, ...], value: Any, typed: Sequence[str]) -> None:
    name = path[-1]
    if "()" in path or "." in path or "_target_" in path:
        _refuse(path, value, "a logging configuration may not name code to run")
    if name == "class" and str(value) not in _HANDLERS:
        _refuse(path, value, f"choose one of {', '.join(sorted(_HANDLERS))}")
    if isinstance(value, str) and re.match(r"(ext|cfg)://", value) and value not in _STREAMS:
        _refuse(path, value, f"choose one of {', '.join(sorted(_STREAMS))}")
    if name == "filename" and not (isinstance(value, str) and value.endswith(".log")):
        _refuse(path, value, "a log's name ends in .log")
    if name == "filename" and not _LOG.fullmatch(value) and not _is_typed(f"hydra.{'.'.join(path)}", typed):
        _refuse(
            path,
            value,
            "in a file, a log is ${hydra.runtime.output_dir}/NAME.log; any other name belongs on the command line",
        )
    if name in ("mode", "filemode") and str(value) not in ("a", "x"):
        _refuse(path, value, "a log is appended to: choose a")
    if name == "style" and str(value) not in ("%", "$"):
        _refuse(path, value, "choose %")


def _check_typed_only(node: dict[str, Any], typed: Sequence[str]) -> None:
    """What decides which programs run, and where logs are written, comes from the command line, not from files."""
    for (part, name), usual in _PLACES.items():
        key, value = f"hydra.{part}.{name}", node[part].get(name)
        if value not in usual and not _is_typed(key, typed):
            raise UserError(
                f"{key}={value} is refused in a file: it decides where files are written, so write it on the command"
                " line."
            )
    folder = node.get("output_subdir")
    if folder not in (None, ".hydra") and not _is_typed("hydra.output_subdir", typed):
        raise UserError(
            f"hydra.output_subdir={folder} is refused in a file: it decides where files are written, so write it on the"
            " command line."
        )
    copied = node["job"].get("env_copy") or []
    if copied and not _is_typed("hydra.job.env_copy", typed):
        raise UserError(
            f"hydra.job.env_copy={copied} is refused in a file: it puts environment variables into a configuration, so"
            " write it on the command line."
        )
    for name, value in (node["job"].get("env_set") or {}).items():
        if name in copied:
            continue
        key = f"hydra.job.env_set.{name}"
        if not _VARIABLES.fullmatch(str(name)) and not _is_typed(key, typed):
            raise UserError(
                f"{key}={value} is refused in a file: set the variable yourself, or write {key}=… on the command line."
            )
    if (node["sweeper"] or {}).get("storage") and not _is_typed("hydra.sweeper.storage", typed):
        raise UserError(
            "hydra.sweeper.storage is refused in a file: it decides where a search is written, so write it on the"
            " command line."
        )
    launcher = node.get("launcher") or {}
    for name, usual in _TYPED_ONLY.items():
        key, value = f"hydra.launcher.{name}", launcher.get(name)
        if value and value != usual and not _is_typed(key, typed):
            raise UserError(
                f"{key}={value} is refused in a file: it decides what is run, so write it on the command line."
            )
    for path, value in _leaves(
        ("launcher",), {name: value for name, value in launcher.items() if name not in _TYPED_ONLY}
    ):
        if isinstance(value, str) and re.search(r"[\x00-\x1f\x7f]", value):
            _refuse(path, repr(value), "it has control characters")
    ahead = launcher.get("pre_dispatch")
    if ahead is not None and not re.fullmatch(r"all|[\d.*+ ]*(n_jobs)?[\d.*+ ]*", str(ahead)):
        raise UserError(f"hydra.launcher.pre_dispatch={ahead} is refused: write a number, all, or N*n_jobs.")


def _check_source(path: str | None) -> None:
    if path is not None and not _SOURCES.fullmatch(str(path)):
        raise UserError(
            f"{path} is refused as a place of configurations: name a folder; a package would be run by looking into it."
        )
