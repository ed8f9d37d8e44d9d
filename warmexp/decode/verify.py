"""Verification: what the backbone says about a whole proposal before any of it is kept.

An init that asks for it has its injected tokens scored first, by forwards that count like all others; what it then keeps is what the
canvas starts with. The loop that follows knows nothing of this, so it works with every unmasking policy, remask schedule and cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from warmexp.decode.meter import Meter
from warmexp.decode.request import full_forward
from warmexp.decode.state import Canvas, Question, Start
from warmexp.models.wanted import upload

SCORES = ("visible", "halves", "shadow")
_LOGIT_BYTES = 1 << 30  # float64 logits that are in memory at once; questions are scored in groups of this size


def verified(meter: Meter, init, questions: Sequence[Question], starts: Sequence[Start], given: Sequence[int] = ()) -> list[Start]:
    """The starts with only those injected tokens that `init.keep` leaves, and the forwards that it took to know.

    given: how many of each start's tokens, from the first on, are not in question (0 by default). A question without any that are costs
    no forward.
    """
    made = list(starts)
    length = len(made[0].tokens)
    pairs = zip(made, given or [0] * len(made), strict=True)
    doubted = np.array([start.injected.numpy() & (np.arange(length) >= first) for start, first in pairs])
    asked = [i for i, some in enumerate(doubted) if some.any()]
    group = max(1, _LOGIT_BYTES // (8 * length * meter.backbone.transformer.wte.weight.shape[0]))
    for first in range(0, len(asked), group):
        rows = asked[first : first + group]
        backbone = meter.backbone
        canvas = Canvas.build([questions[i] for i in rows], [made[i] for i in rows], backbone.mask_id, length, backbone.device)
        injected = upload(doubted[rows], backbone.device)
        score, forwards = _score(meter, canvas, doubted[rows], init.score)
        kept, said = meter.fetch([init.keep(score, canvas.trust, injected), score.masked_fill(~injected, torch.nan)])
        for i, row, words in zip(rows, kept, said, strict=True):
            made[i] = replace(made[i], injected=row, forwards=forwards, score=words)
    return made


def _score(meter: Meter, canvas: Canvas, injected: np.ndarray, kind: str) -> tuple[Tensor, int]:
    """[B, L] float64, p_θ(x̂_i | the rest) at injected positions (0 elsewhere), and how many forwards each question paid. injected: [B, L].

    visible: one forward that sees all of it; x̂_i is read where it stands, so a backbone that was never trained on visible tokens may
    simply copy it. halves: two forwards, each with every other injected token masked, so that no token vouches for itself. shadow: one
    forward, in which each token is read from a mask that sees all others; it is two to three times as long (models/shadow.py).
    """
    if kind in ("visible", "shadow"):
        return _read(meter, canvas, canvas.ids, injected, shadow=kind == "shadow"), 1
    odd = np.arange(injected.shape[1]) % 2 == 1
    score = torch.zeros(injected.shape, dtype=torch.float64, device=canvas.ids.device)
    for hidden in (injected & odd, injected & ~odd):
        score += _read(meter, canvas, canvas.ids.masked_fill(upload(hidden, score.device), canvas.mask_id), hidden)
    return score, 2


def _read(meter: Meter, canvas: Canvas, ids: Tensor, wanted: np.ndarray, shadow: bool = False) -> Tensor:
    """One forward over `ids`: the softmax probability of the canvas's own token at the wanted positions, 0 elsewhere."""
    request = full_forward(replace(canvas, ids=ids))
    here = torch.from_numpy(wanted.ravel())
    request.row, request.position = request.row[here], request.position[here]
    if shadow:
        request.hide(torch.ones_like(request.row, dtype=torch.bool), 1 + meter.backbone.shift)
    at = tuple(upload(index, ids.device) for index in wanted.nonzero())
    said = meter.read(request, tuple(q.id for q in canvas.questions), canvas.ids[at])
    return torch.zeros(wanted.shape, dtype=torch.float64, device=ids.device).index_put(at, said.probability)
