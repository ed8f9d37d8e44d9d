"""Drafts, one question and one canvas at a time: every candidate is read by a forward of its own, and decided upon in
the words of the descriptions (FreeDave, arXiv 2510.00294; LoPA, 2512.16229; a proposal's beginnings)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tests.reference.decoder import softmax
from tests.reference.transformer import ReferenceTransformer

Canvas = list[int | None]  # None where masked


@dataclass
class Slow:
    """A decoded question: as Decoded, for what a draft decides."""

    ids: Canvas
    commit_iteration: list[int]
    source: list[str]
    confidence: list[float | None]
    nfe: int = 0
    rows: int = 0


@dataclass
class Game:
    """A question being decoded. rule: from a canvas, its logits and the positions of its window, what is committed:
    position -> token."""

    model: ReferenceTransformer
    prompt: tuple[int, ...]
    length: int
    width: int
    mask_id: int
    shifted: bool
    tau: float
    done: Slow = field(init=False)

    def __post_init__(self) -> None:
        length = self.length
        self.done = Slow([None] * length, [-1] * length, ["mask"] * length, [None] * length)

    def logits(self, canvas: Canvas) -> np.ndarray:
        """[L, V], the mask's at -inf. One row."""
        row = [*self.prompt, *(self.mask_id if token is None else token for token in canvas)]
        first = len(self.prompt) - self.shifted
        z = self.model.logits(self.model.embed(row))[first : first + self.length].copy()
        z[:, self.mask_id] = -np.inf
        self.done.rows += 1
        return z

    def window(self, canvas: Canvas) -> range:
        """Of the first mask."""
        first = canvas.index(None) // self.width * self.width
        return range(first, first + self.width)

    def best(self, z: np.ndarray, canvas: Canvas, positions: range) -> dict[int, tuple[float, int]]:
        """The most probable token of every mask among these positions, and its probability."""
        masks = [i for i in positions if canvas[i] is None]
        return {i: (float(softmax(z[i]).max()), int(z[i].argmax())) for i in masks}

    def rule(self, z: np.ndarray, canvas: Canvas) -> dict[int, tuple[float, int]]:
        """τ, or the best one, in the canvas's window."""
        said = self.best(z, canvas, self.window(canvas))
        passed = {i: one for i, one in said.items() if one[0] >= self.tau}
        top = max(said, key=lambda i: (said[i][0], -i))
        return passed or {top: said[top]}

    def commit(self, said: dict[int, tuple[float, int]]) -> None:
        """By the forward that is being run."""
        for i, (sure, token) in said.items():
            assert self.done.ids[i] is None
            self.done.ids[i], self.done.source[i] = token, "decoded"
            self.done.commit_iteration[i], self.done.confidence[i] = self.done.nfe, sure


def filled(canvas: Canvas, tokens: dict[int, int]) -> Canvas:
    return [tokens.get(i, token) for i, token in enumerate(canvas)]


def freedave(game: Game, d: int, accept: str, eager: bool, left: bool, graph: list[list[int]] | None = None) -> Slow:
    """What was proposed by the last forward at i: stale[i]."""
    stale: dict[int, tuple[float, int]] = {}
    nodes = graph if graph is not None else [list(range(k)) for k in range(1, d)]
    while None in game.done.ids:
        canvas = game.done.ids
        window = game.window(canvas)
        near = range(window.start, game.length) if eager else window
        drafted = [i for i in near if canvas[i] is None and i in stale]
        if not left:
            drafted = [i for *_, i in sorted((i // game.width, -stale[i][0], i) for i in drafted)]
        masks = sum(canvas[i] is None for i in near)
        candidates = [canvas]
        for node in nodes:
            if max(node) < min(len(drafted), masks - 1):
                candidates.append(filled(canvas, {drafted[rank]: stale[drafted[rank]][1] for rank in node}))
        read = [game.logits(one) for one in candidates]
        said = [game.rule(z, one) for z, one in zip(read, candidates, strict=True)]
        at, sure = 0, {}
        while True:
            after = filled(candidates[at], {i: token for i, (_, token) in said[at].items()})
            follows = []
            for m, one in enumerate(candidates):
                added = sum(a is not None and b is None for a, b in zip(one, candidates[at], strict=True))
                keeps = all(b is None or a == b for a, b in zip(one, candidates[at], strict=True))
                same = (
                    one == after
                    if accept == "exact"
                    else all(a is None or a == b for a, b in zip(one, after, strict=True))
                )
                if added and keeps and same:
                    follows.append((added, -m))
            if not follows:
                break
            m = -max(follows)[1]
            sure |= {
                i: said[at][i]
                for i, token in enumerate(candidates[m])
                if token is not None and candidates[at][i] is None
            }
            at = m
        game.commit(sure)
        stale = game.best(read[at], candidates[at], range(game.length) if eager else game.window(candidates[at]))
        game.commit(said[at])
        stale = {i: one for i, one in stale.items() if game.done.ids[i] is None}
        game.done.nfe += 1
    return game.done


def lopa(game: Game, k: int, alpha: float, share: float, by: str) -> Slow:
    stale: dict[int, tuple[float, int]] = {}
    while None in game.done.ids:
        canvas, window = game.done.ids, game.window(game.done.ids)
        masks = [i for i in window if canvas[i] is None]
        drafted = sorted((i for i in masks if i in stale), key=lambda i: (-stale[i][0], i)) if len(masks) > 1 else []
        branches: list[dict[int, tuple[float, int]]] = [{}, *({i: stale[i]} for i in drafted[: k - 1])]
        scores, read = [], []
        for branch in branches:
            one = filled(canvas, {i: token for i, (_, token) in branch.items()})
            z = game.logits(one)
            read.append((z, one))
            sure = []
            for i in masks:
                if one[i] is None:
                    p = softmax(z[i])
                    sure.append(p.max() if by == "confidence" else sum(x * np.log(x) for x in p if x > 0))
            lowest = sorted(sure)[: int(np.ceil(share * len(sure)))]
            born = next((sure for sure, _ in branch.values()), 1.0)
            scores.append(alpha * born + (1 - alpha) * sum(lowest) / len(lowest))
        won = max(range(len(scores)), key=lambda r: (scores[r], -r))
        game.commit(branches[won])
        z, one = read[won]
        stale = game.best(z, one, window)
        game.commit(game.rule(z, one))
        stale = {i: said for i, said in stale.items() if game.done.ids[i] is None}
        game.done.nfe += 1
    return game.done


def warm(
    game: Game, proposal: tuple[int, ...], trust: tuple[float, ...], written: int, k: int, passes: Callable[[float, float], bool],
    judge: str, always: bool,
) -> Slow:  # fmt: skip
    """passes: from what the backbone and what its author gives a token."""
    text, trust = written, trust or (1.0,) * len(proposal)
    while None in game.done.ids:
        canvas, cuts = game.done.ids, []
        slots = [
            i for i in range(min(len(proposal), game.length)) if canvas[i] is None and (always or not game.done.nfe)
        ]
        places = [i for i in slots if i < text]
        for j in range(1, k + 1):
            beginning = places[: -(-j * len(places) // k)]
            if beginning and beginning not in cuts:
                cuts.append(beginning)
        if judge == "visible" and slots:
            cuts = [*cuts[:-1], slots]
        else:
            cuts = [cut for cut in cuts if len(cut) < canvas.count(None)]
        candidates = [filled(canvas, {i: proposal[i] for i in cut}) for cut in ([], *cuts)]
        read = [game.logits(one) for one in candidates]

        def fails(z, i):
            return not passes(float(softmax(z[i])[proposal[i]]), trust[i])

        won = 0
        if judge == "visible":
            wrong = [i for i in (cuts[-1] if cuts else ()) if fails(read[-1], i)]
            for m, cut in enumerate(cuts, 1):
                if not wrong or max(cut) < wrong[0]:
                    won = m
        else:
            for m, cut in enumerate(cuts, 1):
                if any(fails(read[m - 1], i) for i in cut if candidates[m - 1][i] is None):
                    break
                won = m
        for i in cuts[won - 1] if won else ():
            game.done.ids[i], game.done.source[i], game.done.commit_iteration[i] = (
                proposal[i],
                "injected",
                game.done.nfe - 1,
            )
        if None in game.done.ids:
            game.commit(game.rule(read[won], game.done.ids))
        game.done.nfe += 1
    return game.done
