"""The paper's sceptical remasking (arXiv 2512.19004, Eqs. 10-13): revoke at random, more readily the less the backbone
agrees.

At the k-th forward (from 0) in a block, a candidate with c_i = softmax(z_i)[x_i] (Eq. 10) is put back to the mask with
probability r_i = clip(1 - c_i + b_k, 0, 1) (Eq. 12), independently (Eq. 13). The bias b_k falls with k; it is all that
tells the schedules apart.

`scope` says who is a candidate. The paper's text speaks of injected positions (`injected`, the default). The recovered
code instead draws among tokens that decoding itself wrote (`decoded`), and among those of the very same forward, which
costs forwards and corrects nothing; here a token committed in this forward is never a candidate in it. `all` is both.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from warmexp.decode.reading import Reading
from warmexp.decode.strategy import Remask
from warmexp.decode.view import View
from warmexp.errors import check_choice, check_range

SCOPES = ("injected", "decoded", "all")


@dataclass
class BernoulliRemask(Remask):
    """Base of the schedules; a subclass gives `bias_at`.

    bias: b_0. At b_k ≤ -1 the rate is 0 whatever the confidence, and the policy asks for no forward.
    scope: injected, decoded or all.
    """

    bias: float = 0.5
    scope: str = "injected"

    def __post_init__(self) -> None:
        check_range(
            "remask.bias", self.bias, -1, 1, "the bias b_0 that is added to the remask rate in a block's first forward"
        )
        check_choice("remask.scope", self.scope, SCOPES)

    @abstractmethod
    def bias_at(self, visits: np.ndarray) -> np.ndarray:
        """b_k, float64, for k = visits."""

    def may_fire(self, visits: np.ndarray) -> np.ndarray:
        return self.bias_at(visits) > -1

    def select(self, view: View, reading: Reading, commit: np.ndarray) -> np.ndarray:
        rate = (1 - reading.visible_probability + self.bias_at(view.visits)[:, None]).clip(0, 1)
        return view.revocable & (view.uniform("remask") < rate)
