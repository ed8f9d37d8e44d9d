"""Attention in tiles, one question, head and position at a time (SparseD, arXiv 2509.24014)."""

from __future__ import annotations

import numpy as np

from tests.reference.decoder import softmax
from tests.reference.transformer import ReferenceTransformer


class Tiled(ReferenceTransformer):
    """mode: dense, find or sparse. kept: by layer, head and tile of queries, the tiles of keys."""

    mode, size, share, prompt = "dense", 1, 1.0, 0

    def _attention(self, layer, x, first, kept):
        if not hasattr(self, "kept"):
            self.kept = {}
        heads, out = self.sizes.n_heads, []
        size = x.shape[1] // heads
        q, k, v = (self._linear(f"{layer}.{name}", x) for name in ("q_proj", "k_proj", "v_proj"))
        for h in range(heads):
            group = h // (heads // self.sizes.n_kv_heads)
            of = slice(group * size, (group + 1) * size)
            scores = self._rotate(q[:, h * size : (h + 1) * size]) @ self._rotate(k[:, of]).T / np.sqrt(size)
            if self.mode == "find":
                self.find(layer, h, np.array([softmax(row) for row in scores]))
            rows = []
            for t, row in enumerate(scores):
                if self.mode == "sparse":
                    seen = self.kept[layer, h, t // self.size]
                    row = np.where([s // self.size in seen for s in range(len(row))], row, -np.inf)
                rows.append(softmax(row) @ v[:, of])
            out.append(np.stack(rows))
        return self._linear(f"{layer}.attn_out", np.concatenate(out, axis=1))

    def find(self, layer, h, weight):
        count = -(-len(weight) // self.size)
        of_prompt = [b for b in range(count) if b * self.size < self.prompt]
        others = [b for b in range(count) if b * self.size >= self.prompt]
        for a in range(count):
            rows = weight[a * self.size : (a + 1) * self.size]
            mean = {b: rows[:, b * self.size : (b + 1) * self.size].mean() for b in range(count)}
            self.kept[layer, h, a] = set()
            for part in (of_prompt, others):
                most = min(len(part), int(np.floor(len(part) * self.share)) + 1)
                self.kept[layer, h, a] |= set(sorted(part, key=lambda b: (-mean[b], b))[:most])


def decode_one(model: ReferenceTransformer, prompt, ids, width, mask_id, shifted, tau, skip, size, share):
    """Tokens, forwards of the commits, confidences, and how many forwards were sparse."""
    model = Tiled(model.state, model.sizes)
    model.size, model.share, model.prompt = size, share, len(prompt)
    ids, committed, confidence, n, found, sparse = list(ids), [-1] * len(ids), [None] * len(ids), 0, False, 0
    while None in ids:
        visible = 1 - ids.count(None) / len(ids)
        model.mode = "sparse" if found else "find" if visible >= skip else "dense"
        sparse += found
        found = model.mode != "dense"
        row = [*prompt, *(mask_id if token is None else token for token in ids)]
        first = len(prompt) - shifted
        z = model.logits(model.embed(row))[first : first + len(ids)].copy()
        z[:, mask_id] = -np.inf
        begin = ids.index(None) // width * width
        p = {i: softmax(z[i]) for i in range(begin, begin + width) if ids[i] is None}
        for i in [i for i in p if p[i].max() >= tau] or [max(p, key=lambda i: (p[i].max(), -i))]:
            ids[i], confidence[i], committed[i] = int(p[i].argmax()), float(p[i].max()), n
        n += 1
    return ids, committed, confidence, sparse
