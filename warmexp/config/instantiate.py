"""From a group's YAML node to its dataclass: `_target_` only in what is trusted, unknown keys and wrong types refused
by name."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException, ValidationError

from warmexp.config.keys import LISTS
from warmexp.config.plugins import VARIABLE, trusts
from warmexp.decode.strategy import BASES
from warmexp.errors import UserError, closest


def parts(cfg: DictConfig | Mapping[str, Any], groups: Iterable[str]) -> dict[str, Any]:
    """What each group's node makes; of a group of which several options can be chosen, a tuple.

    Raises:
        UserError: as `build`.
    """
    return {group: _several(group, cfg[group]) if group in LISTS else build(group, cfg[group]) for group in groups}


def _several(group: str, nodes: Any) -> tuple[Any, ...]:
    for key, node in (nodes or {}).items():
        if not isinstance(
            node, Mapping | DictConfig
        ):  # the keys of an option that did not say that it is one of several
            raise UserError(
                f"{group}.{key}={node} is not an option of {group}: a file conf/{group}/NAME.yaml begins with the line"
                f" `# @package {group}.NAME`, so that several of them can be chosen."
            )
    return tuple(build(f"{group}.{name}", node) for name, node in (nodes or {}).items())


def build(group: str, node: DictConfig | dict) -> Any:
    """Instantiate a group's dataclass.

    Raises:
        UserError: no or a foreign `_target_`, an unknown key, a value of the wrong type, or what the dataclass itself
        refuses.
    """
    values = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else dict(node)
    target = values.pop("_target_", None)
    cls = _class(group, target)
    known = [f.name for f in dataclasses.fields(cls)]
    for key in values:
        if key not in known:
            raise UserError(
                f"{group}.{key} is not a key of {group}={_short(target)}{closest(key, known)}; it has"
                f" {', '.join(known) or 'none'}."
            )
    missing = [f.name for f in dataclasses.fields(cls) if _required(f) and values.get(f.name) is None]
    if missing:
        keys = [f"{group}.{name}" for name in missing]
        raise UserError(f"{' and '.join(keys)} must be given: {' '.join(f'{key}=…' for key in keys)}")
    try:
        typed = _typed(cls, values)
    except (ValidationError, ConfigKeyError, OmegaConfBaseException) as error:
        raise UserError(
            f"{group}.{error.full_key}={values.get(str(error.full_key).split('.')[0])!r}: {_reason(error)}"
        ) from None
    return cls(**typed)


# What values were checked against a class, and what they became: the points of a study share most of their groups. By
# the class itself, whose fields are then those that were looked at.
_checked: dict[tuple[type, str], Any] = {}
_KEPT = 4096


def _typed(cls: type, values: dict[str, Any]) -> dict[str, Any]:
    """The values as the class's fields have them."""
    key = cls, repr(values)  # which tells 1, 1.0, True and '1' apart
    if key not in _checked:
        if len(_checked) >= _KEPT:
            _checked.clear()
        checked = OmegaConf.merge(OmegaConf.structured(cls), values)
        _checked[key] = OmegaConf.to_container(checked, resolve=True)
    # A list of its own for each.
    return {k: deepcopy(v) if isinstance(v, list | dict) else v for k, v in _checked[key].items()}


def _class(group: str, target: str | None) -> type:
    if not isinstance(target, str) or not trusts(target):
        package = str(target).partition(".")[0]
        raise UserError(
            f"{group}._target_={target} is refused: only classes inside warmexp. and of trusted packages are"
            f" instantiated; if you trust it, type plugins=[{package}] or set {VARIABLE}={package}."
        )
    module, _, name = target.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{group}._target_={target} cannot be found ({error}).") from None
    except Exception as error:  # a mistake in the file, such as a mutable default of a field
        raise UserError(
            f"{group}._target_={target} cannot be loaded: {type(error).__name__}: {' '.join(str(error).split())}."
        ) from error
    base = BASES.get(group.partition(".")[0], object)
    if not isinstance(cls, type) or not dataclasses.is_dataclass(cls) or not trusts(cls.__module__):
        raise UserError(
            f"{group}._target_={target} is refused: it is not a dataclass of warmexp or of a trusted package."
        )
    if not issubclass(cls, base):
        expected = f"{base.__module__}.{base.__name__}"
        raise UserError(f"{group}._target_={target} is refused: a class of the group {group} derives from {expected}.")
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        hook = f"{missing[0]}{_signature(getattr(base, missing[0], None))}"
        raise UserError(f"{group}._target_={target} is refused: {name} has no {hook}, which {base.__name__} asks for.")
    return cls


def _signature(hook: Any) -> str:
    parameters = list(inspect.signature(hook).parameters) if callable(hook) else []
    return f"({', '.join(parameters)})" if parameters else ""


def _required(f: dataclasses.Field) -> bool:
    return f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING


def _short(target: str | None) -> str:
    return str(target).rpartition(".")[2]


_KINDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


def _reason(error: Exception) -> str:
    said = str(error).splitlines()[0].rstrip(".")
    kind = said.rpartition(" could not be converted to ")[2]
    return f"it takes {_KINDS[kind]}." if kind in _KINDS else f"{said}."
