"""Self-consistency: the same question decoded with several seeds, and a vote (X. Wang et al., arXiv 2203.11171)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from warmexp.decode.strategy import Ensemble, Setup, Strategies
from warmexp.errors import UserError, check_range


@dataclass
class SelfConsistency(Ensemble):
    """n members that differ in their seed; the answer that most of them give wins, of equally frequent ones the first.

    What has to be drawn for them to differ: tokens (unmask.temperature), injected positions (init), or revocations
    (remask).

    n: members, from 2.
    """

    n: int = 5
    several = True
    symbols = {"n": "n"}

    def __post_init__(self) -> None:
        check_range("ensemble.n", self.n, 2, 1000, "the number of members")

    def members(self, strategies: Strategies, seed: int) -> Iterator[tuple[Strategies, int]]:
        # Seeds of their own, which no run with another seed shares.
        for k in range(self.n):
            yield strategies, seed if k == 0 else seed * self.n + k + (1 << 40)

    def check(self, setup: Setup) -> None:
        parts = setup.parts
        drawn = parts["unmask"].temperature > 0 or parts["init"].reads_proposal or parts["remask"].revises
        if not drawn:
            raise UserError(
                f"{setup.said('ensemble')} decodes with several seeds and nothing here is drawn: set"
                " unmask.temperature above 0."
            )
