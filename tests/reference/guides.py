"""Guided decoding, one question and one position at a time: the guide reads the whole text from its beginning for every
single token that it is asked about (FlashDLM, arXiv 2505.21467; adaptive parallel decoding, 2506.00413; EDLM,
2410.21357)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from tests.reference.decoder import softmax, splitmix64
from tests.reference.transformer import ReferenceTransformer
from warmexp.rng import bits

Canvas = list[int | None]  # None where masked


@dataclass
class Told:
    """A decoded question. guide_tokens: positions that a guide computes which keeps what stands before the first
    mask."""

    ids: Canvas
    commit_iteration: list[int]
    confidence: list[float | None]
    nfe: int = 0
    guide_forwards: int = 0
    guide_tokens: int = 0
    margins: list[float] = field(default_factory=list)


@dataclass
class Guided:
    """A question that is decoded with a guide. temperature: of the draws."""

    model: ReferenceTransformer
    question: str
    prompt: tuple[int, ...]
    width: int
    mask_id: int
    shifted: bool
    seed: int
    tau: float
    temperature: float
    done: Told
    end: int = 0
    kept: int = 0  # leading positions whose keys and values the guide has

    @property
    def causal(self) -> ReferenceTransformer:
        return ReferenceTransformer(self.model.state, replace(self.model.sizes, attention_block=1))

    def backbone(self) -> np.ndarray:
        """[L, V], the mask's at -inf."""
        row = [*self.prompt, *(self.mask_id if token is None else token for token in self.done.ids)]
        first = len(self.prompt) - self.shifted
        z = self.model.logits(self.model.embed(row))[first : first + len(self.done.ids)].copy()
        z[:, self.mask_id] = -np.inf
        self.done.nfe += 1
        return z

    def guide(self, proposed: dict[int, int]) -> dict[int, np.ndarray]:
        """[V] log-probabilities at each of the proposed positions, given all that stands before it."""
        filled = [proposed.get(i, token) for i, token in enumerate(self.done.ids)]
        said, first = {}, len(self.prompt)
        for i in proposed:
            before = [self.mask_id if token is None else token for token in filled[:i]]
            if self.end in before:
                said[i] = np.full(self.model.logits(self.model.embed([0])).shape[1], -np.inf)
                said[i][self.end] = 0.0
                continue
            z = self.causal.logits(self.causal.embed([*self.prompt, *before]))[-1].copy()
            z[self.mask_id] = -np.inf
            with np.errstate(divide="ignore"):
                said[i] = np.log(softmax(z))
        settled = first + min(min(proposed), self.done.ids.index(None))
        self.done.guide_tokens += first + max(proposed) - min(self.kept, settled - 1)
        self.kept = settled
        self.done.guide_forwards += 1
        return said

    def gumbel(self, purpose: str, n: int, i: int, count: int) -> np.ndarray:
        state = int(bits(self.seed, self.question, purpose, i + 1, step=n)[i])
        return -np.log(-np.log(np.array([splitmix64(state, v) for v in range(count)])))

    def drawn(self, z: np.ndarray, i: int, n: int, purpose: str = "gumbel") -> int:
        if self.temperature == 0:
            return int(z.argmax())
        score = z / self.temperature + self.gumbel(purpose, n, i, len(z))
        best, second = sorted(score, reverse=True)[:2]
        self.done.margins.append(best - second)
        return int(score.argmax())


# From the game, the backbone's logits, the masked positions and the tokens drawn there: tokens with their confidences,
# and which of them pass (None: nobody has said).
Rule = Callable[[Guided, np.ndarray, list[int], dict[int, int]], tuple[dict[int, tuple[int, float]], list[int] | None]]


def flashdlm(k: int, share: float, on_reject: str) -> Rule:
    def rule(g, z, masked, drawn):
        said = g.guide(drawn)
        made, passes = {i: (drawn[i], float(softmax(z[i])[drawn[i]])) for i in masked}, []
        for i in masked:
            q = said[i]
            order = sorted(range(len(q)), key=lambda v: (-q[v], v))
            if (
                drawn[i] in order[:k]
                and q[drawn[i]] > -np.inf
                and math.exp(q[drawn[i]]) >= share * math.exp(q[order[0]])
            ):
                passes.append(i)
                continue
            if on_reject == "ar":
                made[i] = (order[0], math.exp(q[order[0]]))
                passes.append(i)
            break
        return made, passes or masked[:1]

    return rule


def apd(r: float, lookahead: int, released: bool) -> Rule:
    def rule(g, z, masked, drawn):
        said, n, passes = g.guide(drawn), g.done.nfe - 1, masked[:1]
        for j, i in enumerate(masked[:lookahead]):
            product = z[i] if r == 1 else said[i] if r == 0 else r * z[i] + (1 - r) * said[i]
            target = int(product.argmax()) if released else g.drawn(product, i, n)
            if target != drawn[i] and j > 0:
                break
            passes = masked[: j + 1]
        return {i: (drawn[i], float(softmax(z[i])[drawn[i]])) for i in masked}, passes

    return rule


def edlm(n: int, first: float, last: float, temperature: float) -> Rule:
    def rule(g, z, masked, drawn):
        ids, step = g.done.ids, g.done.nfe - 1
        share = ids.count(None) / len(ids)
        chosen = drawn
        if n > 1 and last <= share <= first:
            candidates = [drawn]
            for c in range(1, n):
                candidates.append({i: g.drawn(z[i], i, step, f"candidate {c}") for i in masked})
            scores = []
            for c, tokens in enumerate(candidates):
                q = g.guide(tokens)
                energy = sum(q[i][v] - math.log(softmax(z[i] / g.temperature)[v]) for i, v in tokens.items())
                scores.append(energy / temperature + g.gumbel("energy", step, masked[0], n)[c])
            g.done.margins.append(abs(np.diff(sorted(s for s in scores if s > -np.inf)[-2:])).min(initial=1.0))
            chosen = candidates[int(np.argmax(scores))]
        return {i: (chosen[i], float(softmax(z[i])[chosen[i]])) for i in masked}, None

    return rule


def decode_one(g: Guided, rule: Rule) -> Told:
    done = g.done
    while None in done.ids:
        first = done.ids.index(None) // g.width * g.width
        masked = [i for i in range(first, first + g.width) if done.ids[i] is None]
        n, z = done.nfe, g.backbone()
        drawn = {i: g.drawn(z[i], i, n) for i in masked}
        made, passes = rule(g, z, masked, drawn)
        commit = set(passes or ()) | {i for i in masked if made[i][1] >= g.tau}
        for i in commit or {max(masked, key=lambda i: (made[i][1], -i))}:
            done.ids[i], done.confidence[i] = made[i]
            done.commit_iteration[i] = n
    return done
