"""The trials that a search begins with: the study's baseline, against which all savings are measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from omegaconf import DictConfig
from optuna.distributions import CategoricalDistribution

from warmexp.config.keys import GREEK, reads
from warmexp.studies.search.space import Space, at, is_group, word


def baselines(
    space: Space, selector: str, count: int, composed: Callable[[Sequence[str]], DictConfig]
) -> list[dict[str, Any]]:
    """Values of `count` trials that are runs of the baseline: what its selector names as it names it, other numbers
    spread from one end to the other, so that the baseline has a front and not one point.

    selector: as analysis/baseline.py reads it. composed: the configuration of a command line.
    Returns:
        none where the space has no run of the baseline.
    """
    for way in selector.split("|"):
        asked = {GREEK.get(key, key): values.split(",") for key, _, values in (w.partition("=") for w in way.split())}
        named = _named(space, asked)
        if named is None:
            continue
        groups = {key: values.choices[0] for key, values in space.groups.items()} | named
        cfg = composed([*space.fixed, *(word(key, value) for key, value in groups.items() if is_group(key))])
        choices = cfg.hydra.runtime.choices
        if any(is_group(key) and str(choices[key]) not in values for key, values in asked.items()):
            continue
        free = [key for key in space.varied if key not in groups and reads(cfg, key)]
        shares = [i / (count - 1) for i in range(count)] if count > 1 else [0.5] * count
        spread = [groups | {key: at(space.varied[key], share) for key in free} for share in shares]
        return spread if free else spread[:1]
    return []


def _named(space: Space, asked: dict[str, list[str]]) -> dict[str, Any] | None:
    """The values of keys that vary and that the selector names; None where it names none of a key's values."""
    found: dict[str, Any] = {}
    for key, texts in asked.items():
        values = space.varied.get(key)
        if isinstance(values, CategoricalDistribution):
            named = [choice for choice in values.choices if str(choice).strip("'\"") in texts]
            if not named:
                return None
            found[key] = named[0]
        elif values is not None:
            try:
                found[key] = type(values.low)(texts[0])
            except ValueError:
                return None
            if not values.low <= found[key] <= values.high:
                return None
    return found
