"""Window-Diffusion (arXiv 2601.20332): the masks nearest to what is decoded are computed, some behind them are kept,
and all others are left out of the sequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from warmexp.decode.columns import Column
from warmexp.decode.edit import Edit
from warmexp.decode.reading import Reading
from warmexp.decode.strategy import Cache
from warmexp.decode.view import Span, View
from warmexp.errors import UserError, check_range
from warmexp.methods.cache.dkv import beside


@dataclass
class WindowCache(Cache):
    """Masks are counted from left to right. Every R-th forward begins a phase: it computes all tokens and the first
    `buffer` masks, and nobody sees the masks behind these (the far field) until the next phase. The others compute the
    first `active` masks and the tokens that were committed in this phase, beside what is kept of the rest. Only active
    masks may be committed.

    active, buffer: W_in and W_ext, in masks, 16 and 64 as published. refresh: R ≥ 1, 32 as published.
    Published without blocks: schedule=canvas; in blocks the active masks of the block may be committed. At the
    beginning of a phase one released port commits the leftmost mask alone and the other anywhere in the whole canvas;
    here it is as in all other forwards. Masks that become active beyond the buffer are computed and seen from then on.
    Shifted backbones compute also what stands left of an active mask.
    """

    active: int = 16
    buffer: int = 64
    refresh: int = 32
    keeps = True
    symbols = {"active": "W_in", "buffer": "W_ext", "refresh": "R"}
    # What the forwards of this phase see, the prompt left out; forwards since it began, its first included; how many
    # forwards of the question there had been before it.
    columns = {"near": Column(dtype="bool"), "phase": Column("row", "int64"), "since": Column("row", "int64")}

    def __post_init__(self) -> None:
        check_range("cache.active", self.active, 1, 2**20, "masks that are computed and may be committed")
        check_range("cache.buffer", self.buffer, 1, 2**20, "masks that are seen")
        check_range("cache.refresh", self.refresh, 1, 2**20, "forwards from one phase's beginning to the next")
        if self.buffer < self.active:
            raise UserError(
                f"cache.buffer={self.buffer} is below cache.active={self.active}: what is computed is seen, so choose"
                " buffer ≥ active."
            )

    def plan(self, view: View) -> Span:
        begins, near, active = self._phase(view)
        eligible = view.row_of(active | ~view.whole("masked"), prompt=False)
        fresh = ~view.whole("masked") & (view.whole("committed_at") >= view.recall("since")[:, None])
        chosen = view.row_of(np.where(begins[:, None], near, active | fresh), prompt=False)
        chosen |= begins[:, None] & view.row_of(near, prompt=True)
        chosen |= beside(view.within(Span.of_set(view, np.ones_like(chosen), eligible=eligible)))
        return Span.of_set(view, chosen, view.row_of(near, prompt=True) | chosen, eligible)

    def _phase(self, view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """[n] bool, whether a phase begins; [n, L] bool, what is seen, and which masks are active."""
        masked = view.whole("masked")
        rank = masked.cumsum(1)
        begins = (view.recall("phase") == 0) | (view.recall("phase") >= self.refresh)
        active = masked & (rank <= self.active)
        near = ~masked | (rank <= self.buffer)
        return begins, np.where(begins[:, None], near, view.whole("near") | active | ~masked), active

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        begins, near, _ = self._phase(view)
        return {
            "near": near,
            "phase": np.where(begins, 1, view.recall("phase") + 1),
            "since": np.where(begins, view.forwards, view.recall("since")),
        }
