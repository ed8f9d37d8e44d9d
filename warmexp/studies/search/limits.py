"""What a trial must reach to be wanted: `accuracy>=0.85`, `nfe<=5`. A trial that does not stays on the front that the
study prints, but the search looks elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from warmexp.errors import UserError

_FIELDS = ("nfe", "accuracy")  # in the order in which a job returns them
_WORD = re.compile(r"\s*(nfe|accuracy)\s*(<=|>=)\s*(\d*\.?\d+|\d+\.)\s*")


@dataclass(frozen=True)
class Limit:
    """name: nfe (forwards per question) or accuracy (a share). least: whether the bound is the least value."""

    name: str
    least: bool
    bound: float

    def missed(self, values: Sequence[float]) -> float:
        """By how much values (nfe, accuracy) miss it; 0 or less where they do not."""
        value = values[_FIELDS.index(self.name)]
        return self.bound - value if self.least else value - self.bound


def limits_of(words: Sequence[str]) -> list[Limit]:
    """
    Raises:
        UserError: names the word that is no limit.
    """
    found = []
    for text in map(str, words):
        match = _WORD.fullmatch(text)
        if match is None or (match[1] == "accuracy" and float(match[3]) > 1):
            raise UserError(
                f"hydra.sweeper.constraints={text} is no limit: write accuracy>=0.85 (a share of the questions) or"
                " nfe<=5 (forwards per question)."
            )
        found.append(Limit(match[1], match[2] == ">=", float(match[3])))
    return found
