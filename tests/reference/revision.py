"""A slow decoder for revision: one question, one position at a time, rules written from their descriptions.

Of the package it shares the question and the keyed draws (rng.py), which are part of the contract. A commit rule and a
revision rule are plain objects that look at a State, whose lists and dicts are indexed by response position.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.reference.decoder import softmax, splitmix64
from tests.reference.transformer import ReferenceTransformer
from warmexp.decode.canvas import Question
from warmexp.rng import bits, uniform


@dataclass
class State:
    """ids, source, born (the forward of a commit), sure (its confidence): of every position. n, k: forwards before this
    one, of the question and in the window. z: logits of every position. c, x0: of masked ones of the window. memory:
    what a rule keeps."""

    question: Question
    seed: int
    mask_id: int
    ids: list[int]
    source: list[str]
    born: list[int]
    sure: list[float | None]
    n: int = 0
    k: int = 0
    window: range = range(0)
    z: dict[int, np.ndarray] = field(default_factory=dict)
    c: dict[int, float] = field(default_factory=dict)
    x0: dict[int, int] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def masked(self) -> list[int]:
        return [i for i in self.window if self.ids[i] == self.mask_id]

    @property
    def visible(self) -> list[int]:
        return [i for i in self.window if self.ids[i] != self.mask_id]

    def p(self, i: int) -> float:
        """The probability of the token that stands at i."""
        return float(softmax(self.z[i])[self.ids[i]])

    def proposed(self) -> list[int]:
        """What the forward makes of the whole canvas."""
        here = {**{i: int(np.argmax(z)) for i, z in self.z.items()}, **self.x0}
        return [here[i] if token == self.mask_id else token for i, token in enumerate(self.ids)]

    def draw(self, purpose: str, step: int | None = None) -> np.ndarray:
        return uniform(self.seed, self.question.id, purpose, self.window.stop, step=self.n if step is None else step)

    def sample(self, i: int, purpose: str, temperature: float, top_p: float = 1.0) -> int:
        if temperature == 0:
            return int(np.argmax(self.z[i]))
        ranked = sorted(range(len(self.z[i])), key=lambda v: (-self.z[i][v], v))
        held, kept = 0.0, set(ranked[:1])
        for v in ranked:
            held += softmax(self.z[i])[v]
            kept |= {v} if held <= top_p or top_p == 1 else set()
        z = np.array([x if v in kept else -np.inf for v, x in enumerate(self.z[i])])
        state = int(bits(self.seed, self.question.id, purpose, self.window.stop, step=self.n)[i])
        u = np.array([splitmix64(state, v) for v in range(len(self.z[i]))])
        return int(np.argmax(z / temperature - np.log(-np.log(u))))


class Revision:
    """Nothing is revised."""

    def hidden(self, s: State) -> list[int]:
        """Visible positions that the forward reads as masks."""
        return []

    def fires(self, k: int) -> bool:
        return True

    def again(self, s: State) -> bool:
        """Whether a full window is read once more."""
        return False

    def over(self, s: State) -> bool:
        """Whether every mask is filled as this forward says, and nothing follows."""
        return False

    def revise(self, s: State, commits: list[int]) -> tuple[list[int], dict[int, int], list[int]]:
        """What is revoked, what is replaced by which token, what is committed besides."""
        return [], {}, []


class Frozen(Revision):
    """Visible tokens are never looked at."""

    def fires(self, k: int) -> bool:
        return False


@dataclass
class Answer:
    ids: list[int]
    nfe: int
    commit_iteration: list[int]
    source: list[str]
    revocations: list[tuple[int, int, int, str, int]]
    confidence: list[float | None]


Commit = Callable[[State], list[int]]


def decode_one(
    model: Any, question: Question, injected: dict[int, int], commit: Commit, revision: Revision, canvas: int,
    width: int, mask_id: int, temperature: float = 0.0, top_p: float = 1.0, idles: bool = False, seed: int = 0,
) -> Answer:  # fmt: skip
    """Aligned logits. model: a ReferenceTransformer, or what has its `embed` and `logits`."""
    s = State(question, seed, mask_id, [mask_id] * canvas, ["mask"] * canvas, [-1] * canvas, [None] * canvas)
    for i, token in injected.items():
        s.ids[i], s.source[i] = token, "injected"
    lost: list[tuple[int, int, int, str, int]] = []
    for first in range(0, canvas, width):
        s.window, s.k = range(first, first + width), 0
        while True:
            late = s.k >= 4 * width
            look = s.visible and not late and (revision.fires(0) if s.k == 0 else revision.again(s))
            if not s.masked and not look:
                break
            listens = not late and revision.fires(s.k)
            hidden = revision.hidden(s) if listens else []
            fed = [mask_id if i in hidden else token for i, token in enumerate(s.ids)]
            rows = model.logits(model.embed([*question.prompt, *fed]))[len(question.prompt) :].copy()
            rows[:, mask_id] = -np.inf
            s.z = dict(enumerate(rows))
            s.x0 = {i: s.sample(i, "gumbel", temperature, top_p) for i in s.masked}
            s.c = {i: float(softmax(s.z[i])[s.x0[i]]) for i in s.masked}
            if revision.over(s):
                for i, token in enumerate(s.proposed()):
                    if s.ids[i] == mask_id:
                        s.ids[i], s.source[i], s.born[i] = token, "decoded", s.n
                return Answer(s.ids, s.n + 1, s.born, s.source, sorted(lost), s.sure)
            commits = commit(s)
            if s.masked and not commits and (not idles or late):
                commits = [min(s.masked, key=lambda i: (-s.c[i], i))]
            revoked, replaced, further = revision.revise(s, commits) if listens else ([], {}, [])
            written = {i: (s.x0[i], s.c[i]) for i in [*commits, *further]}
            written |= {i: (token, float(softmax(s.z[i])[token])) for i, token in replaced.items()}
            for i in [*revoked, *replaced]:
                lost.append((s.n, i, s.ids[i], s.source[i], s.born[i]))
                s.ids[i], s.source[i], s.born[i], s.sure[i] = mask_id, "mask", -1, None
            for i, (token, sure) in written.items():
                s.ids[i], s.source[i], s.born[i], s.sure[i] = token, "decoded", s.n, sure
            s.n += 1
            s.k += 1
    return Answer(s.ids, s.n, s.born, s.source, sorted(lost), s.sure)


# Commit rules.


def threshold(tau: float) -> Commit:
    return lambda s: [i for i in s.masked if s.c[i] >= tau]


def quota(steps: int) -> Commit:
    def best(s: State) -> list[int]:
        ranked = sorted(s.masked, key=lambda i: (-s.c[i], i))
        return ranked[: math.ceil(len(ranked) / max(1, steps - s.k))]

    return best


def saber_commits(n: int) -> Commit:
    def rule(s: State) -> list[int]:
        ever = s.memory.setdefault("committed", {})
        mean = sum(ever.values()) / len(ever) if ever else 1.0
        chosen = [i for i in s.masked if s.c[i] > mean]
        if len(chosen) < n:
            chosen = sorted(s.masked, key=lambda i: (-s.c[i], i))[:n]
        ever.update({i: s.c[i] for i in chosen})
        return chosen

    return rule


def wino_commits(tau: float, share: float, least: int, most: int) -> Commit:
    def rule(s: State) -> list[int]:
        cap = min(max(int(len(s.masked) * share), least), most)
        return sorted((i for i in s.masked if s.c[i] > tau), key=lambda i: (-s.c[i], i))[:cap]

    return rule


# Revision rules.


class Settles(Revision):
    """A window is left after a forward that began without masks and changed nothing; `after` such beginnings at
    most."""

    after = 16

    def again(self, s: State) -> bool:
        return s.memory["changed"] and s.memory["full"] < self.after

    def note(self, s: State, changed: bool) -> None:
        s.memory["full"] = (0 if s.k == 0 else s.memory["full"]) + (not s.masked)
        s.memory["changed"] = changed


@dataclass
class T2M(Settles):
    score: str
    theta: float
    most: int
    share: float
    after: int = 16

    def revise(self, s, commits):
        times, before = s.memory.setdefault("times", {}), s.memory.setdefault("before", {})
        suspects = []
        for i in s.visible:
            if self.score == "low_prob" and s.p(i) < self.theta:
                suspects.append((s.p(i), i))
            if self.score == "t2t":
                best = int(np.argmax(s.z[i]))
                if best != s.ids[i] and softmax(s.z[i])[best] > self.theta:
                    suspects.append((-float(softmax(s.z[i])[best]), i))
            if self.score == "logit_diff" and i in before and s.k > 0 and before[i] - s.p(i) > self.theta:
                suspects.append((s.p(i) - before[i], i))
        allowed = max(1, int(len(s.visible) * self.share))
        revoked = [i for _, i in sorted(x for x in suspects if times.get(x[1], 0) < self.most)][:allowed]
        before.update({i: s.p(i) for i in s.visible})
        before.update({i: s.c[i] for i in commits})
        for i in revoked:
            times[i] = times.get(i, 0) + 1
            del before[i]
        self.note(s, bool(commits or revoked))
        return revoked, {}, []


@dataclass
class Joint(Settles):
    edit: float
    after: int = 16

    def revise(self, s, commits):
        best = {i: int(np.argmax(s.z[i])) for i in s.visible}
        replaced = {i: t for i, t in best.items() if t != s.ids[i] and softmax(s.z[i])[t] > self.edit}
        self.note(s, bool(commits or replaced))
        return [], replaced, []


@dataclass
class Saber(Revision):
    n: int

    def revise(self, s, commits):
        before = s.memory.get("best", {}) if s.k else {}
        best = {i: float(softmax(s.z[i]).max()) for i in s.window}
        s.memory["best"] = best
        if set(commits) == set(s.masked):
            return [], {}, []
        r = max(self.n, len(commits))
        m = min(max(self.n // 2, math.ceil(r / 8)), len(commits) - 1)
        ranked = sorted(s.visible, key=lambda i: (best[i] - before.get(i, 0.0), i))
        return ranked[: max(0, m)], {}, []


class RCR(Revision):
    """Fill everything; remask the m - n of lowest running confidence."""

    def revise(self, s, commits):
        trust = s.question.trust or (1.0,) * len(s.question.proposal)
        running = {i: s.c[i] if i in s.masked else s.sure[i] if s.sure[i] is not None else trust[i] for i in s.window}
        left = len(s.masked) - len(commits)
        open_ = [i for i in s.window if i not in commits]
        lowest = set(sorted(open_, key=lambda i: (running[i], i))[:left])
        return (
            [i for i in s.visible if i in lowest],
            {},
            [i for i in s.masked if i not in lowest and i not in commits],
        )


@dataclass
class Tolerator(Revision):
    rounds: int
    start: float
    end: float
    repeats: int
    temperature: float

    def round(self, s):
        return 0 if s.k == 0 else s.memory.get("round", 0)

    def open(self, s):
        closed = s.memory.setdefault("closed", set())
        return [] if s.masked or self.round(s) >= self.rounds else [i for i in s.window if i not in closed]

    def hidden(self, s):
        free = self.open(s)
        t = self.round(s) / (self.rounds - 1) if self.rounds > 1 else 1.0
        share = self.end + (self.start - self.end) * 0.5 * (1 + math.cos(math.pi * t))
        keep = int(len(free) * (1 - share))
        shuffled = sorted(free, key=lambda i: (s.draw("refine")[i], i))
        return shuffled[: len(free) - keep]

    def again(self, s):
        return bool(self.open(s))

    def revise(self, s, commits):
        hidden, runs = self.hidden(s), s.memory.setdefault("runs", {})
        s.memory["round"] = self.round(s) + bool(self.open(s))
        replaced = {}
        for i in hidden:
            token = s.sample(i, "refined", self.temperature)
            runs[i] = runs[i] + 1 if i in runs and token == s.ids[i] else 1
            if runs[i] >= self.repeats:
                s.memory["closed"].add(i)
            if token != s.ids[i]:
                replaced[i] = token
        return [], replaced, []


def remdm_rates(process, k, T, eta, t_on, t_off, alpha_on):
    """σ, or σ_max for conf, and the probability of a reveal, in the k-th step."""
    if k >= T - 1:
        return 0.0, 1.0
    t, dt = 1 - k / T, 1 / T
    alpha_t, alpha_s = 1 - t, 1 - t + dt
    if process == "loop":
        if t > t_on:
            mt, ms = (1 - (1 - x) * alpha_on / (1 - t_on) for x in (t, t - dt))
            return 0.0, min(1.0, max(0.0, (mt - ms) / mt))
        if t <= t_off:
            mt, ms = (x * (1 - alpha_on) / t_off for x in (t, t - dt))
            return 0.0, (mt - ms) / mt
        return eta, min(1.0, eta * alpha_on / (1 - alpha_on))
    most = min(1.0, (1 - alpha_s) / alpha_t) if k else 1.0
    sigma = {"plain": 0.0, "cap": min(eta, most), "rescale": eta * most, "conf": 0.0}[process]
    if process == "cap" and not k:
        sigma = eta
    return (most if process == "conf" else sigma), (alpha_s - (1 - sigma) * alpha_t) / (1 - alpha_t)


@dataclass
class ReMDM(Revision):
    process: str
    T: int
    eta: float
    t_on: float = 0.55
    t_off: float = 0.05
    alpha_on: float = 0.9

    def rates(self, k):
        return remdm_rates(self.process, k, self.T, self.eta, self.t_on, self.t_off, self.alpha_on)

    def commits(self, s):
        return [i for i in s.masked if s.draw("unmask")[i] < self.rates(s.k)[1]]

    def fires(self, k):
        return k < self.T - 1

    def again(self, s):
        return self.fires(s.k)

    def revise(self, s, commits):
        sigma = dict.fromkeys(s.visible, self.rates(s.k)[0])
        if self.process == "conf":
            trust = s.question.trust or (1.0,) * len(s.question.proposal)
            weight = {i: math.exp(-(s.sure[i] if s.sure[i] is not None else trust[i])) for i in s.visible}
            sigma = {i: sigma[i] * weight[i] / sum(weight.values()) for i in s.visible}
        return [i for i in s.visible if s.draw("remask")[i] < sigma[i]], {}, []


@dataclass
class WINO(Revision):
    """The shadow block is run as one sequence with an attention mask of its own (Shadowed)."""

    model: Any  # Shadowed
    theta: float
    first: int

    def revise(self, s, commits):
        last = self.first if s.k == 0 else s.memory["accepted"]
        s.memory["accepted"] = len(commits)
        q = self.model.behind([*s.question.prompt, *s.ids], len(s.question.prompt), s.window, s.mask_id)
        scores = {i: float(softmax(q[i])[s.ids[i]]) for i in s.visible}
        if len(commits) < 2 and s.masked:
            return [], {}, []
        ranked = sorted((i for i in s.visible if scores[i] < self.theta), key=lambda i: (scores[i], i))
        return ranked[: max(0, last - 1)], {}, []


class Shadowed(ReferenceTransformer):
    """The same model on a row with masks behind it, position by position as WINO's attention mask says."""

    def behind(self, row: list[int], prompt: int, window: range, mask_id: int) -> dict[int, np.ndarray]:
        """Response position -> logits at its mask behind the row."""
        ids = [*row, *[mask_id] * len(window)]
        self.places = [*range(len(row)), *[prompt + i for i in window]]
        self.sees = [
            [
                j < len(row) if i < len(row) else j >= len(row) or self.places[j] != self.places[i]
                for j in range(len(ids))
            ]
            for i in range(len(ids))
        ]
        rows = self.logits(self.embed(ids))[len(row) :].copy()
        rows[:, mask_id] = -np.inf
        return dict(zip(window, rows, strict=True))

    def _attention(self, layer, x, first, kept):
        if len(x) != len(getattr(self, "places", ())):
            return super()._attention(layer, x, first, kept)
        size = x.shape[1] // self.sizes.n_heads
        q, k, v = (self._linear(f"{layer}.{name}", x) for name in ("q_proj", "k_proj", "v_proj"))
        group = self.sizes.n_heads // self.sizes.n_kv_heads

        def turned(part, h):
            rows = [self._rotate(part[t : t + 1, h * size : (h + 1) * size], self.places[t]) for t in range(len(x))]
            return np.concatenate(rows)

        heads = []
        for h in range(self.sizes.n_heads):
            scores = turned(q, h) @ turned(k, h // group).T / np.sqrt(size)
            scores = np.where(self.sees, scores, -np.inf)
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            weights /= weights.sum(axis=1, keepdims=True)
            heads.append(weights @ v[:, h // group * size : (h // group + 1) * size])
        return self._linear(f"{layer}.attn_out", np.concatenate(heads, axis=1))
