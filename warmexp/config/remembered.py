"""Hydra's loader, with a memory: a study composes the same options job by job and differs in a few values.

What a choice of options composes to, and every file that was read for it, is kept for the next composition of this
process; the words that set values are then applied by Hydra as ever. Where a file or folder has changed since, all of
it is read anew, so what is composed is always what the files say.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import hydra._internal.config_loader_impl as hydra_loader
import hydra._internal.defaults_list as hydra_defaults
import omegaconf._utils as omegaconf_utils
import omegaconf.base as omegaconf_base
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.defaults_list import DefaultsList, Overrides
from hydra.core.config_store import ConfigStore
from hydra.core.default_element import ResultDefault
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig

from warmexp.config.keys import conf_dir
from warmexp.config.strangers import check_file

KEPT = 8  # search paths; each has its own options
_create_defaults_list = hydra_loader.create_defaults_list
_create_interpolation_map = hydra_defaults._create_interpolation_map
_get_yaml_loader = omegaconf_utils.get_yaml_loader


class Repository(CachingConfigRepository):
    """The files of one search path, and what was composed of them."""

    def __init__(self, delegate: Any):
        super().__init__(delegate)
        self.lists: dict[tuple[Any, ...], DefaultsList] = {}
        self.composed: dict[int, DictConfig] = {}  # by the identity of a list of defaults, which `lists` keeps alive
        self.stamps: dict[str, Any] = {}
        self.exists: dict[str, bool] = {}
        self.listed: dict[tuple[str, ObjectType | None], tuple[list[Any], list[str]]] = {}
        self.cwd, self.store = os.getcwd(), _store()

    def load_config(self, config_path: str) -> Any:
        for place in self._places(config_path):
            self.stamps.setdefault(place, _stamp(place))
        if f"config_path={config_path}" not in self.cache:
            self._check(config_path)
        found = super().load_config(config_path)
        if found is None:
            del self.cache[f"config_path={config_path}"]  # it may be there the next time
            return None
        return copy.copy(found)  # what a loader is about to compose gets a configuration of its own

    def group_exists(self, config_path: str) -> bool:
        if config_path not in self.exists:
            for place in self._places(f"{config_path}/"):
                self.stamps.setdefault(place, _stamp(place))
            self.exists[config_path] = super().group_exists(config_path)
        return self.exists[config_path]

    def get_group_options(self, group_name: str, results_filter: ObjectType | None = ObjectType.CONFIG) -> list[str]:
        """Help asks for each of them twice."""
        now = [_stamp(place) for place in self._places(f"{group_name}/")]
        then, options = self.listed.get((group_name, results_filter), (None, []))
        if then != now:
            options = super().get_group_options(group_name, results_filter)
            self.listed[group_name, results_filter] = now, options
        return list(options)

    @property
    def fresh(self) -> bool:
        """Whether all that was read is as it was, and nothing has come to stand beside it."""
        relative = not all(Path(place).is_absolute() for place in self.stamps)
        return (
            _same(self.store, _store())
            and not (relative and self.cwd != os.getcwd())
            and all(_stamp(place) == stamp for place, stamp in self.stamps.items())
        )

    def _check(self, config_path: str) -> None:
        """The file that is about to be read, unless it is one of ours."""
        for source in self.get_sources():
            if source.scheme() == "file" and source.is_config(config_path):
                if Path(source.path).resolve() != conf_dir().resolve():
                    check_file(Path(source.path) / source._normalize_file_name(config_path))
                return

    def _places(self, config_path: str) -> Iterator[str]:
        """The files that can be meant and the folders that they lie in."""
        for source in self.get_sources():
            if source.scheme() == "file":
                file = Path(source.path) / config_path
                yield str(file) if config_path.endswith("/") else f"{file.with_suffix('')}.yaml"
                yield str(file.parent)


class _Copies:
    """A repository, whose configurations are the caller's own."""

    def __init__(self, repo: Repository):
        self._repo = repo

    def __getattr__(self, name: str) -> Any:
        return getattr(self._repo, name)

    def load_config(self, config_path: str) -> Any:
        found = self._repo.load_config(config_path)
        if found is not None:
            found.config = copy.deepcopy(found.config)
        return found


class RememberingLoader(ConfigLoaderImpl):
    """Hydra's loader; everything that does not depend on values is composed once."""

    def get_group_options(self, group_name: str, *more: Any, **named: Any) -> list[str]:
        """A repository lists its folders as they are now, so whether files have changed does not matter here; help and
        completion ask for a hundred groups."""
        kept = _REPOSITORIES.get((None, str(self.config_search_path)))
        if kept is None or more[1:] or set(named) - {"results_filter"}:
            return super().get_group_options(group_name, *more, **named)
        return kept.get_group_options(group_name, *more, **named)

    def _parse_overrides_and_create_caching_repo(self, config_name: str | None, overrides: list[str]) -> Any:
        parsed = OverridesParser.create().parse_overrides(overrides=overrides)
        typed = [word.input_line for word in parsed if word.get_key_element() == "hydra.searchpath"]
        key = (config_name, str(self.config_search_path), *typed)
        repo = _REPOSITORIES.pop(key, None)
        if repo is None or not repo.fresh:
            repo = Repository(self.repository)
            self._process_config_searchpath(config_name, parsed, repo)
        _REPOSITORIES[key] = repo  # the one used last stands last
        while len(_REPOSITORIES) > KEPT:
            del _REPOSITORIES[next(iter(_REPOSITORIES))]
        return parsed, repo

    def _load_single_config(self, default: ResultDefault, repo: Any) -> ConfigResult:
        """Hydra edits the primary configuration and joins what has no package as it is; all else it copies itself."""
        if not isinstance(repo, Repository):
            return super()._load_single_config(default, repo)
        kept = repo.load_config(default.config_path)
        package = default.package if default.package is not None else kept and kept.header["package"]
        if not default.primary and package:
            return super()._load_single_config(default, repo)
        return super()._load_single_config(default, _Copies(repo))

    def _compose_config_from_defaults_list(self, defaults: Any, repo: Any) -> DictConfig:
        if not isinstance(repo, Repository):
            return super()._compose_config_from_defaults_list(defaults, repo)
        made = repo.composed.get(id(defaults))
        if made is None:
            made = repo.composed[id(defaults)] = super()._compose_config_from_defaults_list(defaults, repo)
        return copy.deepcopy(made)


def defaults_list(repo: Any, config_name: str | None, overrides_list: Any, *more: Any, **named: Any) -> DefaultsList:
    """Hydra's own, once for every choice of options."""
    if not isinstance(repo, Repository):
        return _create_defaults_list(repo, config_name, overrides_list, *more, **named)
    values = Overrides(repo=repo, overrides_list=overrides_list).config_overrides
    apart = {id(word) for word in values}
    chosen = tuple(word.input_line for word in overrides_list if id(word) not in apart)
    key = (config_name, chosen, more, tuple(sorted(named.items())))
    found = repo.lists.get(key)
    if found is None:
        found = _create_defaults_list(repo, config_name, overrides_list, *more, **named)
        repo.lists[key] = found
    made = copy.copy(found)
    made.config_overrides = values
    return made


def interpolation_map(overrides: Overrides, defaults: list[Any], self_added: bool) -> DictConfig | None:
    """What references in a list of defaults may refer to; None where it has none, which is nearly always."""
    if any("${" in str(value) for default in defaults for value in vars(default).values()):
        return _create_interpolation_map(overrides, defaults, self_added)
    return None


@cache
def yaml_loader() -> type:
    """OmegaConf's own loader, made once, with libyaml's parser below it where PyYAML was built with it: reading the
    files of one composition is several times faster."""
    plain = _get_yaml_loader()
    if not yaml.__with_libyaml__:
        return plain

    class Loader(yaml.cyaml.CParser, plain):
        def __init__(self, stream: Any) -> None:
            yaml.cyaml.CParser.__init__(self, stream)
            yaml.constructor.SafeConstructor.__init__(self)
            yaml.resolver.Resolver.__init__(self)

    return Loader


def install() -> None:
    """Hydra's loader takes its lists of defaults from here, and OmegaConf parses a text with `${…}` once, whose tree it
    only reads. Calling it again changes nothing."""
    omegaconf_utils.get_yaml_loader = yaml_loader
    hydra_loader.create_defaults_list = defaults_list
    hydra_defaults._create_interpolation_map = interpolation_map
    for module in (omegaconf_base, omegaconf_utils):
        if not hasattr(module.parse, "cache_info"):
            module.parse = lru_cache(maxsize=4096)(module.parse)


def _stamp(place: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(place)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _store() -> list[Any]:
    """The nodes in Hydra's own store of configurations, which plugins and we add to."""
    return list(_nodes(ConfigStore.instance().repo))


def _nodes(tree: Any) -> Iterator[Any]:
    for node in tree.values() if isinstance(tree, dict) else (tree,):
        yield from _nodes(node) if isinstance(node, dict) else (node,)


def _same(some: list[Any], others: list[Any]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


_REPOSITORIES: dict[tuple[Any, ...], Repository] = {}
