"""What a search varies: words of a command line as Optuna's distributions, and values as words again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from warmexp.config.keys import GROUPS
from warmexp.errors import UserError


@dataclass(frozen=True)
class Space:
    """varied: the values that a key may take; a choice is the text that was spelled. fixed: the other words."""

    varied: dict[str, BaseDistribution]
    fixed: tuple[str, ...]

    @property
    def groups(self) -> dict[str, CategoricalDistribution]:
        """The groups that vary: they say which of the other keys there are."""
        return {key: values for key, values in self.varied.items() if is_group(key)}


def space_of(words: Sequence[str]) -> Space:
    """The space that words span; a later word of a key wins over an earlier one.

    Raises:
        UserError: a word's values are no choice, range or interval, or nothing varies.
    """
    found = {word.get_key_element(): word for word in OverridesParser.create().parse_overrides(list(words))}
    varied = {key: _distribution(word) for key, word in found.items() if word.is_sweep_override()}
    if not varied:
        raise UserError(
            "hydra.sweeper.params varies nothing: give some key several values, such as 'tau=interval(0.5,0.95)'."
        )
    return Space(varied, tuple(str(word.input_line) for key, word in found.items() if key not in varied))


def _distribution(word: Override) -> BaseDistribution:
    value = word.value()
    if isinstance(value, IntervalSweep):
        low, high, log = value.start, value.end, "log" in value.tags
        if low is None or high is None or low > high or (log and low <= 0):
            raise UserError(f"{word.input_line} is no interval: write interval(low,high), low above 0 where it is log.")
        whole = isinstance(low, int) and isinstance(high, int)
        return IntDistribution(low, high, log=log) if whole else FloatDistribution(float(low), float(high), log=log)
    if isinstance(value, RangeSweep) and not value.shuffle:
        values: list[Any] = list(word.sweep_iterator())
        if not values:
            raise UserError(f"{word.input_line} has no values: write range(low,high,step=s), high not among them.")
        low, high, step = min(values), max(values), abs(value.step)
        if all(isinstance(one, int) for one in values):
            return IntDistribution(low, high, step=step)
        return FloatDistribution(round(float(low), 12), round(float(high), 12), step=float(step))  # 0.6, not 0.6…01
    if word.is_discrete_sweep() and (choices := list(dict.fromkeys(word.sweep_string_iterator()))):
        return CategoricalDistribution(choices)
    raise UserError(f"{word.input_line} cannot be searched: write KEY=a,b,c or KEY=interval(low,high).")


def is_group(key: str) -> bool:
    return key in GROUPS or key == "experiment"


def suggested(trial: Trial, key: str, values: BaseDistribution) -> Any:
    """The sampler's value for a key, which belongs to the trial from now on."""
    if isinstance(values, CategoricalDistribution):
        return trial.suggest_categorical(key, values.choices)
    if isinstance(values, IntDistribution):
        return trial.suggest_int(key, values.low, values.high, step=values.step, log=values.log)
    return trial.suggest_float(key, values.low, values.high, step=values.step, log=values.log)


def word(key: str, value: Any) -> str:
    """The word of a command line that gives a key this value: a choice as it was spelled, a number of an interval to
    four digits, which are as fine as a search needs, and can be read."""
    return f"{key}={f'{value:.4g}' if isinstance(value, float) else value}"


def ends(values: BaseDistribution) -> Sequence[Any]:
    return values.choices if isinstance(values, CategoricalDistribution) else (values.low, values.high)


def at(values: BaseDistribution, share: float) -> Any:
    """The value that lies a share in [0, 1] of the way from the first or lowest to the last or highest."""
    if isinstance(values, CategoricalDistribution):
        return values.choices[round(share * (len(values.choices) - 1))]
    if values.log:
        found = values.low * (values.high / values.low) ** share
    else:
        step = values.step or 0
        wanted = share * (values.high - values.low)
        found = values.low + (step * round(wanted / step) if step else wanted)
    return min(round(found), values.high) if isinstance(values, IntDistribution) else float(min(found, values.high))
