"""A canvas of fixed length, decoded block by block (semi-autoregressive, as LLaDA and Fast-dLLM do)."""

from __future__ import annotations

from dataclasses import dataclass

from warmexp.decode.strategy import Length
from warmexp.errors import UserError, check_range


@dataclass
class FixedLength(Length):
    """canvas_length L and block_length W in tokens; W divides L. W = L decodes the whole canvas at once."""

    canvas_length: int = 256
    block_length: int = 32

    def __post_init__(self) -> None:
        check_range("length.canvas_length", self.canvas_length, 1, 2**20, "the number of response positions")
        check_range("length.block_length", self.block_length, 1, 2**20, "the number of positions in a block")
        if self.canvas_length % self.block_length:
            divisors = [
                d
                for d in range(1, self.canvas_length + 1)
                if self.canvas_length % d == 0 and d <= 2 * self.block_length
            ]
            raise UserError(
                f"length.block_length={self.block_length} does not divide length.canvas_length={self.canvas_length}:"
                f" choose one of {', '.join(map(str, divisors[-6:]))}."
            )
