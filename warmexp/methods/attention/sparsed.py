"""SparseD (arXiv 2509.24014): head by head, the tiles of keys that matter, found once and used to the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from warmexp.decode.columns import Column
from warmexp.decode.edit import Edit
from warmexp.decode.reading import Reading
from warmexp.decode.strategy import Attention
from warmexp.decode.view import View
from warmexp.errors import check_range
from warmexp.models.tiles import DENSE, FIND, SPARSE


@dataclass
class SparseD(Attention):
    """Attention is full until a share `skip` of the canvas is visible. The first forward after that finds, in every
    layer and head and for every tile of `tile` queries, the tiles of keys whose mean weight is largest: ⌊ρn⌋ + 1 of the
    n that begin in the prompt, and as many of those behind it. All later ones attend to these alone.

    skip: in [0, 1], 0.2 as published; there of the forwards, whose number is known with a quota and not with a
    threshold; 1 is full attention. tile: 32 as published for short texts, 128 for long ones. share: ρ in (0, 1], 0.5
    and 0.3; 1 keeps everything. The released port to LLaDA scales scores by the number of heads instead of their width
    while it looks for the pattern; here it is the attention that the model computes.
    """

    skip: float = 0.2
    tile: int = 32
    share: float = 0.5
    sparse = True
    symbols = {"skip": "skip", "tile": "tile", "share": "share"}
    columns = {"patterned": Column("row", "int64")}  # whether the pattern has been found

    def __post_init__(self) -> None:
        check_range("attention.skip", self.skip, 0, 1, "the share of the canvas that is decoded with full attention")
        check_range("attention.tile", self.tile, 1, 2**20, "the positions of a tile")
        check_range("attention.share", self.share, 0, 1, "the share of tiles that is kept", open_low=True)

    def plan(self, view: View) -> np.ndarray:
        found = view.recall("patterned") > 0
        visible = 1 - view.whole("masked").sum(1) / view.canvas.extent[view.rows]
        return np.where(found, SPARSE, np.where(visible >= self.skip, FIND, DENSE)).astype(np.int64)

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        return {"patterned": (self.plan(view) != DENSE).astype(np.int64)}
