"""HEX: the same question decoded in blocks of several lengths, and a vote (arXiv 2510.05040)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from warmexp.decode.strategy import Ensemble, Setup, Strategies
from warmexp.errors import UserError, check_range


@dataclass
class Hex(Ensemble):
    """One member for every block length L/2, L/4, … L/2^k that is a whole number, the smallest first; the answer that
    most members give wins, of equally frequent ones the first.

    As released: one trajectory per length at temperature 0 (8 to 128 on a canvas of 256); the paper's best number has
    five seeds of each at temperature 0.9, which is unmask.temperature=0.9 and several runs. What costs 640 forwards
    there, of 128 each, costs here what the unmasking policy makes of it.

    halvings: k, from 1; 5 as published.
    """

    halvings: int = 5
    several = True
    symbols = {"halvings": "k"}

    def __post_init__(self) -> None:
        check_range("ensemble.halvings", self.halvings, 1, 20, "how often the canvas is halved")

    def lengths(self, canvas: int) -> list[int]:
        """The block lengths, ascending."""
        return [canvas >> k for k in range(self.halvings, 0, -1) if canvas % (1 << k) == 0]

    def members(self, strategies: Strategies, seed: int) -> Iterator[tuple[Strategies, int]]:
        for block in self.lengths(strategies.length.canvas_length):
            yield replace(strategies, length=replace(strategies.length, block_length=block)), seed  # type: ignore[type-var]

    def check(self, setup: Setup) -> None:
        length, schedule = setup.parts["length"], setup.parts["schedule"]
        widths = {schedule.width(replace(length, block_length=one)) for one in self.lengths(length.canvas_length)}
        if not widths:
            raise UserError(
                f"{setup.said('ensemble')} halves the canvas, and length.canvas_length={length.canvas_length} is odd:"
                " choose an even one."
            )
        if len(widths) == 1 and len(self.lengths(length.canvas_length)) > 1:
            raise UserError(
                f"{setup.said('ensemble')} varies the block length, which {setup.said('schedule')} does not read:"
                " choose schedule=blocks."
            )
