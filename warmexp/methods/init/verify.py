"""Verification: what the backbone says about a whole proposal before any of it is kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from warmexp.decode.canvas import Question, Start
from warmexp.decode.forward import whole_forward
from warmexp.decode.meter import Meter

SCORES = ("visible", "halves", "shadow")
_SURE = 1e-6  # probabilities are moved this far from 0 and 1 before their odds are taken
_LOGIT_BYTES = 1 << 30  # float64 logits that are in memory at once; questions are scored in groups of this size


def scores(
    meter: Meter, questions: Sequence[Question], starts: Sequence[Start], doubted: np.ndarray, kind: str
) -> tuple[np.ndarray, int]:
    """[n, L] float64, p_θ(x̂_i | the rest of what is injected) where doubted ([n, L] bool), 0 elsewhere, and the
    forwards each paid.

    visible: one forward that sees all of it; x̂_i is read where it stands, so a backbone that was never trained on
    visible tokens may simply copy it. halves: two forwards, each with every other doubted token masked, so that no
    token vouches for itself. shadow: one forward, in which each token is read from a mask that sees all others; it is
    two to three times as long (models/shadow.py).
    """
    found = np.zeros(doubted.shape)
    group = max(1, _LOGIT_BYTES // (8 * doubted.shape[1] * meter.backbone.vocabulary))
    for first in range(0, len(starts), group):
        here = slice(first, first + group)
        tokens = np.stack([s.tokens for s in starts[here]])
        canvas = np.where(np.stack([s.injected for s in starts[here]]), tokens, meter.backbone.mask_id)
        if kind == "halves":
            odd = np.arange(doubted.shape[1]) % 2 == 1
            for hidden in (doubted[here] & odd, doubted[here] & ~odd):
                masked = np.where(hidden, meter.backbone.mask_id, canvas)
                found[here] += _read(meter, questions[here], masked, tokens, hidden)
        else:
            found[here] = _read(meter, questions[here], canvas, tokens, doubted[here], shadow=kind == "shadow")
    return found, 2 if kind == "halves" else 1


def confirmed(score: np.ndarray, trust: np.ndarray, theta: float, weight: float, cap: float) -> np.ndarray:
    """Where logit q + w·logit min(t, c) ≥ logit θ. score, trust: float64, of one shape, q and t; a t that is NaN says
    nothing (1/2)."""
    q, t = torch.from_numpy(score), torch.from_numpy(trust)
    odds = q.logit(_SURE) + weight * t.nan_to_num(0.5).clamp(max=cap).logit(1e-4)
    return (odds >= torch.tensor(theta, dtype=torch.float64).logit()).numpy()


def _read(
    meter: Meter,
    questions: Sequence[Question],
    ids: np.ndarray,
    tokens: np.ndarray,
    wanted: np.ndarray,
    shadow: bool = False,
) -> np.ndarray:
    """One forward over the canvases `ids`: the softmax probability of `tokens` at the wanted positions, 0 elsewhere."""
    request = whole_forward([q.prompt for q in questions], ids, wanted, meter.backbone.device)
    if shadow:
        request.hide(np.ones(len(request.row), dtype=bool), 1 + meter.backbone.shift)
    found = np.zeros(wanted.shape)
    found[wanted] = meter.read(request, tuple(q.id for q in questions), tokens[wanted])[1]
    return found
