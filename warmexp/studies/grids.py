"""A study's grids: what a line of `hydra.sweeper.grids` and a command line mean together."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from itertools import islice

from hydra.core.override_parser.types import Override

from warmexp.config.devices import joined
from warmexp.config.quoting import unescaped
from warmexp.errors import UserError

PINNED = "!"
MOST_POINTS = 20_000


def grid_words(grid: str, common: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """The words of one grid, as a shell would split them, between those of every grid and those of the command line.

    Later words win over earlier ones of the same key (Hydra's own rule), so the command line wins; a word that starts
    with `!` is what makes the grid what it is and keeps its value: `init=token_inject !proposer=oracle`.
    """
    try:
        words = [unescaped(word) for word in shlex.split(grid)]
    except ValueError as error:
        raise UserError(f"hydra.sweeper.grids: '{grid}' cannot be read ({error}).") from None
    pinned = {_key(word.removeprefix(PINNED)) for word in words if word.startswith(PINNED)}
    words = [
        *common,
        *(word.removeprefix(PINNED) for word in words),
        *(word for word in arguments if _key(word) not in pinned),
    ]
    return [joined(word) for word in words]


def refuse_to_vary(keys: Iterable[str]) -> None:
    """A study has one folder, one baseline and one tracker.

    Raises:
        UserError: one of the keys that vary says what the study is or where it is kept.
    """
    for key in (key.lstrip("+") for key in keys):
        if key.partition(".")[0] in ("outputs", "study", "sweep", "tracker"):
            raise UserError(f"{key} cannot vary within a study: give it one value, and run one study after the other.")


def refuse_too_many(words: Iterable[Override]) -> None:
    """Every point is composed and checked before the first job starts, so a slip in a range would take days and all
    memory.

    Raises:
        UserError: the words make more than MOST_POINTS points.
    """
    points = 1
    for word in words:
        if word.is_sweep_override() and word.is_discrete_sweep():
            points *= sum(1 for _ in islice(word.sweep_iterator(), MOST_POINTS + 1))
            if points > MOST_POINTS:
                raise UserError(
                    f"{word.input_line} makes a study of more than {MOST_POINTS:,} points: choose fewer values, or a"
                    " step."
                )


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+")
