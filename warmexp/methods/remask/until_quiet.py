"""What ends a window where a policy looks at full ones again (LLaDA2.1, arXiv 2602.08676)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from warmexp.decode.columns import Column
from warmexp.decode.edit import Edit
from warmexp.decode.reading import Reading
from warmexp.decode.strategy import Remask
from warmexp.decode.view import View
from warmexp.errors import check_range


@dataclass
class UntilQuiet(Remask):
    """Base of policies that leave a window after the first forward that changes nothing in it, which costs at least one
    more than filling it does; of forwards that begin without a mask there are at most `after`."""

    after: int = field(default=16, kw_only=True)
    columns = {
        "unquiet": Column("row", "bool"),  # whether the last forward changed anything
        "read_full": Column("row", "int64"),  # forwards of the present window that began without a mask
    }

    def __post_init__(self) -> None:
        check_range("remask.after", self.after, 0, 2**20, "a number of forwards")

    def again(self, view: View) -> np.ndarray:
        return view.recall("unquiet") & (view.recall("read_full") < self.after)

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        changed = edit.commit if edit.lost is None else edit.commit | edit.lost
        before = np.where(view.visits == 0, 0, view.recall("read_full"))
        return {"unquiet": np.asarray(changed.any(1)), "read_full": before + ~view.masked.any(1)}
