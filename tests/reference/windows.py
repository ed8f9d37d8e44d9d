"""Caches that compute positions anywhere in the sequence, one question at a time (dKV-Cache, arXiv 2505.15781;
Window-Diffusion, 2601.20332)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tests.reference.decoder import softmax
from tests.reference.transformer import ReferenceTransformer

Canvas = list[int | None]  # None where masked


class Anywhere(ReferenceTransformer):
    """The forward of some positions of a sequence beside what is kept of others."""

    def of_set(
        self, ids: list[int], positions: list[int], seen: set[int], kept: dict[tuple[int, int], tuple[np.ndarray, ...]]
    ) -> dict[int, np.ndarray]:
        """[V] logits at each position. kept: by layer and position, its key (not rotated) and value; those of the
        positions are written over it. seen: what may be attended to."""
        x = {t: self.embed([ids[t]]) for t in positions}
        for n in range(self.n_layers):
            layer = f"blocks.{n}"
            normed = {t: self._norm(f"{layer}.attn_norm", x[t]) for t in positions}
            for t, h in normed.items():
                kept[n, t] = self._linear(f"{layer}.k_proj", h)[0], self._linear(f"{layer}.v_proj", h)[0]
            for t, h in normed.items():
                x[t] = x[t] + self._linear(f"{layer}.attn_out", self._mixed(layer, h, t, n, sorted(seen), kept)[None])
            for t in positions:
                h = self._norm(f"{layer}.ff_norm", x[t])
                gate = self._linear(f"{layer}.ff_proj", h)
                up = self._linear(f"{layer}.up_proj", h)
                x[t] = x[t] + self._linear(f"{layer}.ff_out", gate / (1 + np.exp(-gate)) * up)
        return {t: self._linear("ff_out", self._norm("ln_f", x[t]))[0] for t in positions}

    def _mixed(self, layer, h, t, n, seen, kept) -> np.ndarray:
        size, out = h.shape[1] // self.sizes.n_heads, []
        q = self._linear(f"{layer}.q_proj", h)
        for head in range(self.sizes.n_heads):
            part = slice(head * size, (head + 1) * size)
            group = head // (self.sizes.n_heads // self.sizes.n_kv_heads)
            of = slice(group * size, (group + 1) * size)
            query = self._rotate(q[:, part], t)[0]
            scores = np.array([query @ self._rotate(kept[n, s][0][None, of], s)[0] for s in seen]) / np.sqrt(size)
            out.append(softmax(scores) @ np.stack([kept[n, s][1][of] for s in seen]))
        return np.concatenate(out)


@dataclass
class Windowed:
    """A decoded question, and positions computed per forward."""

    ids: Canvas
    commit_iteration: list[int]
    confidence: list[float | None]
    costs: list[int] = field(default_factory=list)


def decode_one(model: ReferenceTransformer, prompt, ids: Canvas, width, mask_id, shifted, tau, rule) -> Windowed:
    """rule: from (n, visits, ids, commit_iteration, memory), canvas positions that are computed, those that are seen,
    whether the prompt is computed, and those that may be committed."""
    model = Anywhere(model.state, model.sizes)
    done = Windowed(list(ids), [-1] * len(ids), [None] * len(ids))
    kept: dict = {}
    memory: dict = {}
    n, first, block, visits = 0, len(prompt), None, 0
    while None in done.ids:
        begins = done.ids.index(None) // width * width
        visits = visits + 1 if begins == block else 0
        block = begins
        computed, seen, anew, may = rule(n, visits, done.ids, done.commit_iteration, memory)
        masked = [i for i in range(begins, begins + width) if done.ids[i] is None and i in may]
        positions = {first + i for i in computed} | {first + i - shifted for i in masked}
        positions |= set(range(first)) if anew else set()
        row = [*prompt, *(mask_id if token is None else token for token in done.ids)]
        said = model.of_set(row, sorted(positions), set(range(first)) | {first + i for i in seen} | positions, kept)
        done.costs.append(len(positions))
        p = {}
        for i in masked:
            z = said[first + i - shifted].copy()
            z[mask_id] = -np.inf
            p[i] = softmax(z)
        passed = [i for i in masked if p[i].max() >= tau] or [max(masked, key=lambda i: (p[i].max(), -i))]
        for i in passed:
            done.ids[i], done.confidence[i], done.commit_iteration[i] = int(p[i].argmax()), float(p[i].max()), n
        n += 1
    return done


def delayed(refresh: int):
    def rule(n, visits, ids, committed, memory):
        everything = set(range(len(ids)))
        if visits % refresh == 0 or visits <= 1:
            return everything, everything, True, everything
        masked = {i for i in everything if ids[i] is None}
        return (
            masked | {i for i in everything if ids[i] is not None and committed[i] == n - 1},
            everything,
            False,
            everything,
        )

    return rule


def windowed(active: int, buffer: int, refresh: int):
    def rule(n, visits, ids, committed, memory):
        masked = [i for i in range(len(ids)) if ids[i] is None]
        visible = {i for i in range(len(ids)) if ids[i] is not None}
        may = set(masked[:active])
        if n % refresh == 0:
            memory["near"], memory["since"] = visible | set(masked[:buffer]), n
            return memory["near"], memory["near"], True, may
        memory["near"] |= may | visible
        fresh = {i for i in visible if committed[i] >= memory["since"]}
        return may | fresh, memory["near"], False, may

    return rule
