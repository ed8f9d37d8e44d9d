"""A proposal that is verified before any of it is kept: what passes starts on the canvas, the rest is masked.

arXiv 2512.19004 commits a proposal's tokens first and doubts them afterwards, one at a time. Here nothing is kept that
the backbone does not confirm, as in speculative decoding (2211.17192) and in draft-and-verify for masked diffusion
(FreeDave, 2510.00294; WINO, 2507.18578): the proposal is read once as a whole, and kept up to the first token that
fails, because what follows a mistake builds on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from warmexp.decode.canvas import Question, Start
from warmexp.decode.columns import Column
from warmexp.decode.meter import Meter
from warmexp.decode.strategy import Init, Setup
from warmexp.errors import UserError, check_choice, check_range
from warmexp.methods.init.token_inject import slots
from warmexp.methods.init.verify import SCORES, confirmed, scores

KEEPS = ("prefix", "each")


@dataclass
class Verified(Init):
    """x_i = x̂_i while every token up to i passes, else M. Token i passes iff logit q_i + w·logit min(t_i, c) ≥ logit
    θ.

    q_i = p_θ(x̂_i | the rest of the proposal) is the backbone's word (verify.py), t_i the author's own probability (its
    trust): two independent witnesses, whose odds multiply. θ is what both together have to reach; t_i = 1/2 leaves it
    to the backbone alone.

    theta: θ in (0, 1). weight: w ≥ 0; 0 asks the backbone alone. cap: c in [1/2, 1), so that no author, and none who
    says nothing (whose trust is 1 everywhere), can vouch for a token by itself. score: how q is read, `visible`,
    `shadow` (one forward each) or `halves` (two). keep_rule: `prefix`, as above, or `each`: every token that passes,
    wherever it stands.
    whole: in [0, 1]; a proposal with Π t_i below it, over its text and the end behind it, is not read at all: its
    author doubts that it is right as a whole. It costs no forward, and unmask=agreement can still use it. 0 reads every
    proposal.
    """

    theta: float = 0.98
    weight: float = 1.0
    cap: float = 0.95
    score: str = "visible"
    keep_rule: str = "prefix"
    whole: float = 0.0
    reads_proposal = True
    injects = True
    verifies = True
    # What the backbone gave each token that was offered first, and in how many forwards.
    columns = {
        "score": Column(fill=math.nan, recorded=True),
        "verifying": Column("row", "int64", recorded=True),
    }

    def __post_init__(self) -> None:
        check_range(
            "init.theta", self.theta, 1e-4, 1 - 1e-4, "the probability that backbone and author together have to reach"
        )
        check_range("init.weight", self.weight, 0, 100, "the weight of the author's own probability")
        check_range("init.cap", self.cap, 0.5, 1 - 1e-4, "the most that an author's word can be worth")
        check_choice("init.score", self.score, SCORES)
        check_choice("init.keep_rule", self.keep_rule, KEEPS)
        check_range(
            "init.whole",
            self.whole,
            0,
            1,
            "the probability that its author gives to the whole of a proposal that is read",
        )

    def check(self, setup: Setup) -> None:
        super().check(setup)
        if self.score == "shadow" and setup.attention_block:
            raise UserError(
                f"init.score=shadow reads tokens from masks beside the row, which is defined where every position sees"
                f" every position, and {setup.said('backbone')} has blocks: choose init.score=visible or halves."
            )

    def start(self, question: Question, length: int, seed: int) -> Start:
        tokens, covered = slots(question, length)
        if math.prod(question.trust[: question.written + 1]) < self.whole:
            covered = 0
        return Start(tokens, np.arange(length) < covered)

    def prepare(
        self, meter: Meter, questions: Sequence[Question], starts: Sequence[Start], given: Sequence[int] | None = None
    ) -> list[Start]:
        """Only those injected tokens stay that pass. A question without any that are in question costs no forward."""
        made, length = list(starts), len(starts[0].tokens)
        injected = np.stack([s.injected for s in starts])
        doubted = injected & (np.arange(length) >= np.array(given or [0] * len(made))[:, None])
        asked = np.flatnonzero(doubted.any(1)).tolist()
        if not asked:
            return made
        some = [questions[i] for i in asked]
        score, forwards = scores(meter, some, [made[i] for i in asked], doubted[asked], self.score)
        trust = np.stack([_trust(question, length) for question in some])
        for i, row, kept, said in zip(
            asked, doubted[asked], self.keep(score, trust, doubted[asked]), score, strict=True
        ):
            told: dict[str, np.ndarray | float] = {"score": np.where(row, said, np.nan), "verifying": forwards}
            made[i] = replace(made[i], injected=kept, forwards=forwards, columns=told)
        return made

    def keep(self, score: np.ndarray, trust: np.ndarray, injected: np.ndarray) -> np.ndarray:
        """Which injected tokens stay. score, trust: [n, L] float64, q and t where injected; all results [n, L] bool."""
        passed = injected & confirmed(score, trust, self.theta, self.weight, self.cap)
        given = injected.cumsum(1) == 0  # what stands before the first token in question
        return passed if self.keep_rule == "each" else np.logical_and.accumulate(passed | given, 1) & injected


def _trust(question: Question, length: int) -> np.ndarray:
    """[L] float64, NaN behind the proposal; an author who says nothing is sure of everything."""
    said = (question.trust or (1.0,) * len(question.proposal))[:length]
    return np.array([*said, *[np.nan] * (length - len(said))])
