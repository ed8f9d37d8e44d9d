"""ReMDM: a sampler that masks again what it has revealed, at a rate that keeps the process (arXiv 2503.00307)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.reading import Reading
from warmexp.decode.strategy import Remask, Setup
from warmexp.decode.view import View
from warmexp.decode.windows import check_steps
from warmexp.errors import UserError, check_choice
from warmexp.methods.remask.bernoulli import SCOPES
from warmexp.methods.unmask.ancestral import KEYS, Process


@dataclass
class ReMDM(Process, Remask):
    """Revoke each visible token with probability σ (σ_i) in each of the first T - 1 forwards of a window, which takes T
    forwards whether or not all of it is visible before. The rates are those of `Process` (unmask/ancestral.py).

    With unmask=ancestral, which takes its keys from here, this is the published sampler; with any other rule it is its
    corrector. The released code skips forwards before which nothing has changed and ends with one more; here all T are
    run, and count. Its times are 32-bit numbers, so that its loop may begin one forward later where t_on·T is whole,
    and in `conf` its p_i are renormalised within top_p and rounded to bfloat16; but for that, tokens are the same draw
    for draw. In `conf`, p_i of an injected token is its author's trust.

    process: `cap` (η 0.008 as published), `rescale` (η 0.015), `conf` (no η), `loop` (η 0.02, t_on 0.55, t_off 0.05,
    alpha_on 0.9). steps: T, 1,024 there. scope: as in remask=linear; as published all.
    """

    scope: str = "all"
    symbols = {"steps": "T", "eta": "η"}

    def __post_init__(self) -> None:
        self.check_process("remask")
        check_choice("remask.scope", self.scope, SCOPES)
        check_choice("remask.process", self.process, ("cap", "rescale", "conf", "loop"))

    def check(self, setup: Setup) -> None:
        super().check(setup)
        check_steps("remask.steps", self.steps, setup)
        reveals = setup.parts["unmask"]
        if isinstance(reveals, Process):
            for key in KEYS:
                if getattr(reveals, key) != getattr(self, key):
                    raise UserError(
                        f"unmask.{key}={getattr(reveals, key)} is not remask.{key}={getattr(self, key)}: they are the"
                        f" same process, so give remask.{key} alone."
                    )

    def shown(self) -> str:
        return f"{self.process} {super().shown()}"

    def may_fire(self, visits: np.ndarray) -> np.ndarray:
        return visits < self.steps - 1

    def again(self, view: View) -> np.ndarray:
        return self.may_fire(view.visits)

    def select(self, view: View, reading: Reading, commit: np.ndarray) -> np.ndarray:
        rate = np.broadcast_to(self.rates(view.visits)[0][:, None], view.masked.shape)
        if self.process == "conf":
            rate = rate * self.doubt(view)
        return view.revocable & (view.uniform("remask") < rate)

    def doubt(self, view: View) -> np.ndarray:
        """[n, W] float64: softmax of -p over what may be revoked, 0 elsewhere."""
        weight = np.where(view.revocable, np.exp(-view.backing), 0.0)
        return weight / np.maximum(weight.sum(1, keepdims=True), 1e-300)
