"""Ancestral sampling: every masked position is revealed with a probability that a schedule says (MDLM, Dream's
`origin`, ReMDM arXiv 2503.00307)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from warmexp.decode.reading import Reading
from warmexp.decode.strategy import Setup, Unmask
from warmexp.decode.view import View
from warmexp.decode.windows import check_steps
from warmexp.errors import UserError, check_choice, check_range

PROCESSES = ("plain", "cap", "rescale", "conf", "loop")
KEYS = ("steps", "process", "eta", "t_on", "t_off", "alpha_on")


@dataclass
class Process:
    """The rates of ReMDM in the k-th of T forwards of a window, at t = 1 - k/T on the way to s = t - 1/T, with α_t = 1
    - t and σ_max = min(1, (1 - α_s)/α_t).

    A visible token goes back to the mask with probability σ, a masked position is revealed with (α_s - (1 - σ)α_t)/(1 -
    α_t), which leaves the share of masks what it is without remasking. `plain`: σ = 0 (MDLM). `cap`: σ = min(η,
    σ_max). `rescale`: σ = η·σ_max. `conf`: σ_i = σ_max·softmax_i(-p_i), over the visible tokens of the window with the
    probabilities p_i of their commits; masked positions are revealed as in `plain`, as released. `loop`: plain until t
    falls to `t_on`, at a pace that reaches α = alpha_on there; α held with σ = η until t falls to `t_off`;
    plain from there to the end.
    """

    steps: int = 32
    process: str = "plain"
    eta: float = 0.0
    t_on: float = 0.55
    t_off: float = 0.05
    alpha_on: float = 0.9

    def check_process(self, group: str) -> None:
        """Raises a UserError that names the key."""
        check_range(f"{group}.steps", self.steps, 1, 2**20, "the number of forwards of a window")
        check_choice(f"{group}.process", self.process, PROCESSES)
        check_range(f"{group}.eta", self.eta, 0, 1, "the rate η at which visible tokens are masked")
        check_range(f"{group}.t_on", self.t_on, 0, 1 - 1e-9, "the time, from 1 down to 0, at which the loop begins")
        check_range(f"{group}.t_off", self.t_off, 0, self.t_on, "the time at which the loop ends", open_low=True)
        check_range(f"{group}.alpha_on", self.alpha_on, 0, 1 - 1e-9, "the share that is visible in the loop")

    def rates(self, visits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[n] float64 each: σ (of `conf`: σ_max) and the probability of a reveal, which is 1 from the last step on."""
        step = np.minimum(visits, self.steps - 1)
        at, after = step / self.steps, (step + 1) / self.steps  # α_t and α_s
        most = np.where(step == 0, 1.0, np.minimum(1.0, (1 - after) / np.where(step == 0, 1.0, at)))
        plain = (after - at) / (1 - at)
        if self.process == "plain":
            return np.zeros_like(plain), plain
        if self.process == "conf":
            return most, plain
        if self.process == "loop":
            return self._loop(1 - at, 1 / self.steps)
        capped = np.where(step == 0, self.eta, np.minimum(self.eta, most))
        sigma = capped if self.process == "cap" else self.eta * most
        return sigma, (after - (1 - sigma) * at) / (1 - at)

    def _loop(self, t: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
        before = [1 - (1 - time) * self.alpha_on / (1 - self.t_on) for time in (t, t - dt)]  # shares of masks
        behind = [time * (1 - self.alpha_on) / self.t_off for time in (t, t - dt)]
        early, late = t > self.t_on, t <= self.t_off
        inside = ~early & ~late
        now, then = (np.where(late, b, a) for a, b in zip(before, behind, strict=True))
        plain = (now - then) / np.where(inside, 1.0, now)
        held = min(1.0, self.eta * self.alpha_on / (1 - self.alpha_on))
        last = t <= dt * (1 + 1e-9)
        return np.where(inside & ~last, self.eta, 0.0), np.where(last, 1.0, np.where(inside, held, plain.clip(0, 1)))


@dataclass
class Ancestral(Process, Unmask):
    """Commit each masked position with the probability that `Process` says for this forward, with a drawn token; a
    forward may commit nothing, and counts.

    A window takes `steps` forwards (fewer where it is full before, and nothing revokes). With remask=remdm, whose keys
    these are, it is ReMDM. process=plain alone is MDLM's sampler, and Dream's `origin` on one block.

    steps: T, 1,024 as published for texts of that length. temperature: 1 is the model's own distribution. top_p: tokens
    are drawn from the most probable ones whose probabilities add up to no more than this (the first always); 0.9 as
    published, 1 is all.
    """

    temperature: float = 1.0
    top_p: float = 0.9
    idles = True
    curve = "steps"
    symbols = {"steps": "T"}

    def __post_init__(self) -> None:
        self.check_process("unmask")
        check_range("unmask.temperature", self.temperature, 0, 100, "the sampling temperature")
        check_range("unmask.top_p", self.top_p, 0, 1, "the share of the probability that is drawn from", open_low=True)

    def check(self, setup: Setup) -> None:
        super().check(setup)
        check_steps("unmask.steps", self.steps, setup)
        if self.process != "plain" and not isinstance(setup.parts["remask"], Process):
            raise UserError(
                f"unmask.process={self.process} makes up for tokens that are masked again and {setup.said('remask')}"
                " masks none in that way: choose remask=remdm, or unmask.process=plain."
            )

    def drawn_from(self, logits: Tensor) -> Tensor:
        if self.top_p == 1:
            return logits
        best = logits.softmax(-1).sort(dim=-1, descending=True, stable=True)
        inside = best.values.cumsum(-1) <= self.top_p
        inside[:, 0] = True
        return logits.masked_fill(~torch.empty_like(inside).scatter_(1, best.indices, inside), -torch.inf)

    def select(self, view: View, reading: Reading) -> np.ndarray:
        return view.masked & (view.uniform("unmask") < self.rates(view.visits)[1][:, None])
