"""The configurations of a study's points: composed once for every choice of options, not once for every point.

The words that only set values (`tau=0.7`, `remask.bias=0.1`) are applied by Hydra itself to the configuration of those
that choose options, which are composed as ever, and are taken back when the point has been looked at.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf, open_dict

from warmexp.config.keys import GROUPS

_KEPT = 64  # choices of options
_CHOOSING = (*GROUPS, "experiment")
Composed = tuple[DictConfig, dict[str, str]]  # without Hydra's own node; the option chosen in each group


class Points:
    """Of one study, while its points are planned: files that change in between are not read again.

    load: composes a command line.
    """

    def __init__(self, load: Callable[[list[str]], DictConfig]):
        self._load = load
        self._bases: dict[tuple[str, ...], Composed] = {}

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
        heads = {word.key_or_group.partition(".")[0] for word in values}
        before = {head: copy.deepcopy(cfg._get_node(head)) for head in heads if head in cfg}
        try:
            ConfigLoaderImpl._apply_overrides_to_config(values, cfg)
            yield cfg, dict(choices)
        finally:
            cfg.__dict__["_content"].update(before)

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
    head = word.key_or_group.partition(".")[0]
    return (
        word.type == OverrideType.CHANGE
        and word.package is None
        and word.key_or_group not in _CHOOSING
        and head not in ("hydra", "sweep")
        and "/" not in word.key_or_group
        and "${" not in str(word.input_line)
    )


def _chooses(word: Override) -> bool:
    return word.type == OverrideType.CHANGE and word.key_or_group in _CHOOSING and "${" not in str(word.input_line)
