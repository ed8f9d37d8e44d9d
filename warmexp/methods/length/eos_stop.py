"""Stop where the answer ends: blocks behind a committed end token are left alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.methods.length.fixed import FixedLength


@dataclass
class EosStop(FixedLength):
    """As `fixed`, but a question is finished once an end token stands on its canvas and everything up to it is final:
    decoded, and out of the reach of the remask policy (where one may revoke tokens, that is when their block is left).

    The tokens up to the end are those of `fixed`, in fewer forwards; what was not decoded is given out as end-of-text
    of source "mask".
    """

    stops = True

    def finished(self, ends: np.ndarray, final: np.ndarray) -> np.ndarray:
        return (ends & final).any(1)
