"""The configurations of a study's points: composed once for every choice of options, not once for every point.

The words that only set values (`tau=0.7`, `remask.bias=0.1`) are applied by Hydra itself to the configuration of those
that choose options, which are composed as ever, and are taken back when the point has been looked at.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, Node, OmegaConf, open_dict

from warmexp.config.keys import GROUPS

_KEPT = 64  # choices of options
_NODES, _MADE = 4096, 4096
_CHOOSING = (*GROUPS, "experiment")
Composed = tuple[DictConfig, dict[str, str]]  # without Hydra's own node; the option chosen in each group


class Points:
    """Of one study, while its points are planned: files that change in between are not read again.

    load: composes a command line.
    """

    def __init__(self, load: Callable[[list[str]], DictConfig]):
        self._load = load
        self._bases: dict[tuple[str, ...], Composed] = {}
        self._made: dict[Hashable, Any] = {}
        self._nodes: dict[tuple[Any, ...], Node | None] = {}

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` returns, made for the first point that asks for it under this key; what it raises is not kept."""
        if key not in self._made:
            if len(self._made) >= _MADE:
                self._made.clear()
            self._made[key] = make()
        return self._made[key]

    @contextmanager
    def composed(self, words: Sequence[str]) -> Iterator[Composed]:
        """The configuration of a command line, which is its own only for as long as it is looked at."""
        parsed = [_parsed(word) for word in words]
        values = [word for word in parsed if _sets_a_value(word)]
        others = [word for word in parsed if not _sets_a_value(word)]
        if not all(_chooses(word) for word in others):
            yield self._compose(tuple(words))
            return
        chosen = tuple(str(word.input_line) for word in others)
        if chosen not in self._bases:
            if len(self._bases) >= _KEPT:
                self._bases.clear()
            self._bases[chosen] = self._compose(chosen)
        cfg, choices = self._bases[chosen]
        content = cfg.__dict__["_content"]
        before = {head: content[head] for head in map(_head, values) if head in content}
        try:
            self._apply(chosen, values, cfg)
            yield cfg, dict(choices)
        finally:
            content.update(before)

    def _apply(self, chosen: tuple[str, ...], values: Sequence[Override], cfg: DictConfig) -> None:
        """Set values in a configuration, whose own nodes stay as they are: a copy takes the place of each that is to
        change, and serves again for the next point that sets the same in it."""
        content = cfg.__dict__["_content"]
        said: dict[str, tuple[str | None, ...]] = {}
        for word in values:
            head = _head(word)
            said[head] = (*said.get(head, ()), word.input_line)
            key = (chosen, head, said[head])
            if key not in self._nodes:
                if len(self._nodes) >= _NODES:
                    self._nodes.clear()
                if head in content:
                    content[head] = copy.deepcopy(content[head])
                ConfigLoaderImpl._apply_overrides_to_config([word], cfg)
                self._nodes[key] = content[head]
            content[head] = self._nodes[key]

    def _compose(self, words: tuple[str, ...]) -> Composed:
        cfg = self._load(list(words))
        choices = dict(OmegaConf.to_container(cfg.hydra.runtime.choices))
        with open_dict(cfg):
            del cfg["hydra"]
        return cfg, choices


@lru_cache(maxsize=4096)
def _parsed(word: str) -> Override:
    """Words occur in many points. Nothing changes what is returned."""
    return OverridesParser.create().parse_override(word)


def _sets_a_value(word: Override) -> bool:
    """Whether a word can be applied to what others compose: it neither adds nor deletes, chooses no option, and looks
    nothing up."""
    return (
        word.type == OverrideType.CHANGE
        and word.package is None
        and word.key_or_group not in _CHOOSING
        and _head(word) not in ("hydra", "sweep")
        and "/" not in word.key_or_group
        and "${" not in str(word.input_line)
    )


def _head(word: Override) -> str:
    return word.key_or_group.partition(".")[0]


def _chooses(word: Override) -> bool:
    """Whether a word chooses an option or a named study, or is about Hydra itself, which no point shows."""
    if "${" in str(word.input_line):
        return False
    if word.key_or_group == "sweep":
        return word.type in (OverrideType.CHANGE, OverrideType.ADD)
    return word.type == OverrideType.CHANGE and (
        word.key_or_group in _CHOOSING or word.key_or_group.startswith(("hydra.", "hydra/"))
    )
