"""FreeDave: several steps are drafted at once and verified by one forward (arXiv 2510.00294)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from warmexp.decode.edit import Edit
from warmexp.decode.lanes import Chosen, Lanes, questions_of
from warmexp.decode.reading import Reading
from warmexp.decode.strategy import LISTS, Setup
from warmexp.decode.view import View
from warmexp.errors import UserError, check_choice, check_range
from warmexp.methods.draft.remembered import Remembered

ACCEPTS = ("exact", "subset")
ORDERS = ("confidence", "left")


@dataclass
class FreeDave(Remembered):
    """Candidates are the canvas C₀ and C₀ with the first 1, 2, … d-1 of its masks filled as the last forward proposed,
    the most probable first. Where what the unmasking rule makes of C_j is C_m, the question goes on from C_m, and so on
    to the last; there the rule commits as ever.

    With a rule whose commits follow from the canvas and one forward of it alone (anything else is refused) and
    accept=exact, every canvas that is reached is one that the rule reaches by itself, so tokens, order and confidences
    are those without a draft, in fewer forwards and more rows: `tau=1.1` is the published case of one token per
    forward. What is published as the draft's first row, one step ahead, is here the canvas after that step. A draft
    never fills a window: the forward that would read it has nothing to read there.

    d: candidates per question, 4 (LLaDA) or 8 (Dream) as published; 1 is no draft. accept: `exact`, or `subset`: C_m
    follows C_j if every token of it is one that the rule makes of C_j, the longest first; FreeDave++ is that with the
    rule τ = 0.95, and not lossless. eager: drafts go on behind the window, block by block. order: `confidence`, or
    `left` to right. graph: another set of candidates than nested ones, a list of lists of ranks in that order, such as
    [[0],[0,1],[1],[0,2]] (Spiffy, 2509.18085, fits one to the model; SSD, 2510.04147, is the nested one), which d then
    says nothing about.
    """

    d: int = 4
    accept: str = "exact"
    eager: bool = False
    order_by: str = "confidence"
    graph: list[list[int]] | None = None

    def __post_init__(self) -> None:
        check_range("draft.d", self.d, 1, 256, "the number of candidates per question")
        check_choice("draft.accept", self.accept, ACCEPTS)
        check_choice("draft.order_by", self.order_by, ORDERS)
        if self.graph is not None:
            _check_graph(self.graph)

    def shown(self) -> str:
        size = f"d={self.d}" if self.graph is None else f"graph of {len(self.graph)}"
        return " ".join([size, *(["eager"] if self.eager else []), *(["subset"] if self.accept == "subset" else [])])

    @property
    def nodes(self) -> list[list[int]]:
        """The ranks that each candidate fills."""
        return self.graph if self.graph is not None else [list(range(count)) for count in range(1, self.d)]

    @property
    def most(self) -> int:
        return 1 + len(self.nodes)

    @property
    def depth(self) -> int:
        """The largest number of masks that are filled."""
        return max((max(node) + 1 for node in self.nodes), default=0)

    @property
    def reads_canvas(self) -> bool:  # type: ignore[override]
        return self.eager

    def lanes(self, view: View) -> Lanes | None:
        left = (view.whole("masked") if self.eager else view.masked).sum(1)
        found = []
        for row, order in enumerate(self.order(view)):
            reach = min(len(order), int(left[row]) - 1)
            found += [(row, order[node]) for node in self.nodes if max(node) < reach and len(node) < left[row]]
        return self.laid(view, found)

    def order(self, view: View) -> list[np.ndarray]:
        if not self.eager:
            return [np.sort(row) for row in super().order(view)] if self.order_by == "left" else super().order(view)
        rank, width = view.whole("drafted_confidence"), view.canvas.width
        found = []
        for start, row, masked in zip(view.start, rank, view.whole("masked"), strict=True):
            at = np.flatnonzero(masked & (row >= 0))
            keys = (at,) if self.order_by == "left" else (-row[at], (at - start) // width)
            found.append(at[np.lexsort(keys)])
        return found

    def asks(self, view: View) -> np.ndarray | None:
        if not self.eager:
            return None
        ahead = np.arange(view.canvas.length) - view.start[:, None]
        reach = view.canvas.width * (1 + -(-self.depth // view.canvas.width))
        return np.where(view.whole("masked") & (ahead >= 0) & (ahead < reach), view.canvas.mask_id, -1)

    def remember(self, view: View, reading: Reading, edit: Edit) -> Mapping[str, np.ndarray]:
        told = dict(super().remember(view, reading, edit))
        if reading.asked is None:
            return told
        there = np.zeros(reading.asked.token.shape, dtype=bool)
        there[np.arange(len(there))[:, None], view.positions] = True
        for name, value in (("drafted", reading.asked.token), ("drafted_confidence", reading.asked.probability)):
            whole = np.where(np.isnan(reading.asked.probability), -1, value).astype(value.dtype)
            whole[there] = told[name].ravel()
            told[name] = whole
        return told

    def choose(self, view: View, reading: Reading, commit: np.ndarray) -> Chosen:
        ids, confidence = view.whole("ids"), view.whole("confidence").copy()
        reached = ids.copy()
        i, j = commit.nonzero()
        reached[i, view.positions[i, j]] = reading.token[i, j]
        sure = np.full(ids.shape, np.nan)
        sure[i, view.positions[i, j]] = reading.confidence[i, j]
        question, rows = questions_of(view.candidates), []
        for first, past in _stretches(question):
            here, at = np.arange(first, past), first
            while (after := self._after(here, at, ids, reached, view.canvas.mask_id)) is not None:
                confidence[after] = np.where(ids[after] != ids[at], sure[at], confidence[at])
                at = after
            rows.append(at)
        row = np.array(rows)
        return Chosen(row, confidence[row])

    def _after(self, here: np.ndarray, at: int, ids: np.ndarray, reached: np.ndarray, mask_id: int) -> int | None:
        """The candidate that follows, if any: [k] of them, one of which is `at`."""
        more = ((ids[here] != ids[at]) & (ids[here] != mask_id)).sum(1)
        if self.accept == "exact":
            follows = (ids[here] == reached[at]).all(1)
        else:
            follows = ((ids[here] == mask_id) | (ids[here] == reached[at])).all(1)
            follows &= (ids[here] != mask_id).sum(1) - (ids[at] != mask_id).sum() == more  # it keeps what stands there
        best = np.where(follows & (more > 0), more, 0)
        return int(here[best.argmax()]) if best.any() else None

    def check(self, setup: Setup) -> None:
        super().check(setup)
        for group, instead in _INSTEAD.items():
            chosen = setup.parts[group]
            if not all(one.replays(setup) for one in (chosen if group in LISTS else (chosen,))):
                raise UserError(
                    f"{setup.said('draft')} follows a rule that says the same of a canvas whenever it is asked, and"
                    f" {setup.said(group)} as it is set goes by the number of the forward, by draws or by what it"
                    f" remembers: choose {instead}, or draft=none."
                )
        if self.eager and setup.parts["anchor"].moves:
            raise UserError(
                f"draft.eager=true drafts behind the window, where {setup.said('anchor')} lays the proposal anew:"
                " choose draft.eager=false, or anchor=none."
            )


_INSTEAD = {
    "unmask": "unmask=threshold with unmask.temperature=0",
    "init": "init=mask, or init.duration=masked",
    "evidence": "evidence=[]",
    "feed": "feed=none",
}


def _check_graph(graph: object) -> None:
    right = isinstance(graph, list) and all(
        isinstance(node, list) and node and len(set(node)) == len(node) and all(_rank(rank) for rank in node)
        for node in graph
    )
    if not right:
        raise UserError(
            f"draft.graph={graph} is not a list of lists of ranks from 0, none of them empty: write one such as"
            " [[0],[0,1]], or null for nested candidates."
        )


def _rank(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 256


def _stretches(question: np.ndarray) -> list[tuple[int, int]]:
    """First and past the last candidate of every question."""
    ends = np.searchsorted(question, np.arange(int(question[-1]) + 2)).tolist()
    return list(pairwise(ends))
