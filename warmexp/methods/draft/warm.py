"""A proposal's own beginnings as candidates: the backbone picks in one forward how much of its author's text to keep.

`init=verified` reads a proposal in a forward of its own and then decodes what is left. Here the canvas without the
proposal, and with one half of it, all of it …, are read at once: the forward that judges is also the first that
decodes. A rejected proposal costs no forward, an accepted one saves one, and both are paid in rows. As in draft-and-
verify for masked diffusion (FreeDave, 2510.00294), with an author's text in the place of the model's own guess.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warmexp.decode.canvas import INJECTED
from warmexp.decode.lanes import Chosen, Lanes, questions_of
from warmexp.decode.reading import Reading
from warmexp.decode.strategy import Draft
from warmexp.decode.view import View
from warmexp.errors import check_choice, check_range
from warmexp.methods.init.verify import confirmed

JUDGES = ("visible", "next")
TIMES = ("first", "block", "always")


@dataclass
class Warm(Draft):
    """Candidates are the canvas and the canvas with the first 1/k, 2/k … of the proposal's text on its masks, the last
    with what follows the text, too. A token passes iff logit q + w·logit min(t, c) ≥ logit θ, as in init=verified: t is
    its author's probability (trust), q the backbone's.

    judge: what q is read from. `visible`: the last candidate, where the token stands and may be copied; a question goes
    on from the longest candidate that has no token behind the first that fails. `next`: the longest candidate that does
    not have the token, where it is masked; a question goes on from a candidate to the next if all that it adds passes,
    and nothing behind the text is laid. k: how many beginnings. theta, weight, cap: as in init=verified. when: `first`:
    before a question's first forward; `block`: before the first in every window; `always`: before every one, with what
    is still masked.
    """

    k: int = 4
    theta: float = 0.98
    weight: float = 1.0
    cap: float = 0.95
    judge: str = "visible"
    when: str = "first"
    several = True
    completes = True
    reads_prior = True
    reads_canvas = True
    symbols = {"k": "k", "theta": "θ"}

    def __post_init__(self) -> None:
        check_range("draft.k", self.k, 1, 255, "the number of beginnings of the proposal")
        check_range(
            "draft.theta", self.theta, 1e-4, 1 - 1e-4, "the probability that backbone and author together have to reach"
        )
        check_range("draft.weight", self.weight, 0, 100, "the weight of the author's own probability")
        check_range("draft.cap", self.cap, 0.5, 1 - 1e-4, "the most that an author's word can be worth")
        check_choice("draft.judge", self.judge, JUDGES)
        check_choice("draft.when", self.when, TIMES)

    @property
    def most(self) -> int:
        return 1 + self.k

    def lanes(self, view: View) -> Lanes | None:
        now = {"first": view.forwards == 0, "block": view.visits == 0, "always": np.ones(len(view.rows), dtype=bool)}
        slots = view.whole("masked") & ~np.isnan(view.whole("trust")) & now[self.when][:, None]
        row, where = [], []
        for i in np.flatnonzero(slots.any(1)):
            text = view.canvas.questions[view.rows[i]].written
            for cut in self._cuts(slots[i], text, view.whole("masked")[i]):
                row.append(i)
                where.append(slots[i] & (np.arange(view.canvas.length) < cut))
        if not row:
            return None
        of, prior = np.array(row, dtype=np.int64), view.whole("prior")
        return Lanes(of, np.stack(where), prior[of], np.full((len(of), prior.shape[1]), np.nan), INJECTED)

    def _cuts(self, slots: np.ndarray, text: int, masked: np.ndarray) -> list[int]:
        """Where the beginnings end, ascending, as positions of the canvas. All arrays [L]."""
        places = np.flatnonzero(slots & (np.arange(len(slots)) < text))
        ends = {-(-j * len(places) // self.k) for j in range(1, self.k + 1)} - {0}
        cuts = sorted(int(places[end - 1]) + 1 for end in ends)
        if self.judge == "next":  # a candidate without a mask says nothing of a token that it has not
            return [cut for cut in cuts if (masked & ~(slots & (np.arange(len(slots)) < cut))).any()]
        return [*cuts[:-1], len(slots)]

    def asks(self, view: View) -> np.ndarray | None:
        if view.lane is None or view.laid is None:
            return None
        if self.judge == "visible":
            last = np.append(view.candidates[1:] == 0, True)
            return np.where(view.laid & last[:, None], view.whole("prior"), -1)
        # What the next candidate has; a question's last one is followed by a canvas on which nothing is laid.
        after = np.roll(view.laid, -1, 0)
        return np.where(after & ~view.laid, view.whole("prior"), -1)

    def choose(self, view: View, reading: Reading, commit: np.ndarray) -> Chosen:
        own = np.flatnonzero(view.lane == 0)
        if reading.asked is None or view.laid is None:
            return Chosen(own)
        asked = reading.asked.token >= 0
        passed = confirmed(
            np.nan_to_num(reading.asked.probability), view.whole("trust"), self.theta, self.weight, self.cap
        )
        failed = asked & ~passed
        question = questions_of(view.candidates)
        if self.judge == "visible":
            last = np.append(own[1:], len(question)) - 1
            first = np.where(failed[last].any(1), failed[last].argmax(1), failed.shape[1])
            behind = np.arange(failed.shape[1]) >= first[:, None]
            fits = ~(view.laid & behind[question]).any(1)
        else:
            goes = np.concatenate(([False], ~failed.any(1)[:-1]))  # from the candidate before
            fits = np.ones(len(question), dtype=bool)
            for i in range(1, len(fits)):
                fits[i] = view.candidates[i] == 0 or (goes[i] and fits[i - 1])
        row = np.zeros(len(own), dtype=np.int64)
        np.maximum.at(row, question[fits], np.flatnonzero(fits))
        return Chosen(row)
