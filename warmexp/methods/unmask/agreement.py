"""Agreement: a prior may only support what the backbone itself proposes.

In the spirit of Guided Diffusion (FlashDLM, arXiv 2505.21467) and of adaptive parallel decoding (2506.00413), where a
second model's word decides how much of the backbone's own is taken. A prior that is wrong, or beside the point, changes
nothing and costs no forward.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.reading import Reading
from warmexp.decode.view import View
from warmexp.errors import UserError, check_range
from warmexp.methods.unmask.threshold import Threshold


@dataclass
class Agreement(Threshold):
    """Commit masked position i with confidence c_i ≥ τ, or with argmax_i = x̂_i and c_i ≥ τ - (τ - τ_low)·t_i.

    x̂_i is the proposal's token and t_i in [0, 1] its author's trust; the threshold falls with trust from τ to τ_low.
    Needs an init that reads a proposal and leaves masks: `token_inject` with rho=0 is the cold canvas. tau,
    temperature: as in unmask=threshold.

    low: τ_low in (0, τ].
    """

    low: float = 0.5
    symbols = Threshold.symbols | {"low": "low"}
    reads_prior = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("unmask.low", self.low, 0, 1, "the threshold where backbone and proposal agree")
        if self.low > self.tau:
            raise UserError(f"unmask.low={self.low} is above tau={self.tau}: agreement can only lower the threshold.")

    def select(self, view: View, reading: Reading) -> np.ndarray:
        agrees = (reading.token == view.prior) & ~np.isnan(view.trust)
        needed = np.where(agrees, self.tau - (self.tau - self.low) * view.trust, self.tau)
        return view.masked & (reading.confidence >= needed)
