"""Several candidate canvases of a question in one forward.

A draft lays tokens on copies of a canvas; the forward reads all of them, as rows of one batch, and one becomes the
canvas. Candidates are rows of a canvas of their own, so whatever reads a view reads them like any row. A question's
forward counts once, its rows and positions all (decode/meter.py).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from warmexp.decode.lanes import Chosen, Lanes
from warmexp.decode.strategy import Strategies
from warmexp.decode.view import View
from warmexp.decode.windows import advance
from warmexp.models.backbone import Backbone


def candidates(view: View, lanes: Lanes, s: Strategies, backbone: Backbone, seed: int) -> View:
    """The view of all candidates, each where its own window stands; a question's canvas as it is comes first of its
    own. Those that need no forward are left out, unless the draft reads them all the same."""
    own = len(view.rows)
    of = np.concatenate((np.arange(own), lanes.row))
    order = of.argsort(kind="stable")
    laid = np.concatenate((np.zeros((own, view.canvas.length), dtype=bool), lanes.where))[order]
    empty = np.zeros((own, view.canvas.length))
    token = np.concatenate((empty.astype(np.int64), lanes.token))[order]
    canvas = view.canvas.copies(view.rows[of[order]])
    if lanes.blind:
        prompt = np.arange(canvas.rows.shape[1]) < canvas.prompt_length[:, None]
        canvas.rows[prompt & (order >= own)[:, None]] = canvas.mask_id
    canvas.lay(laid, token, np.concatenate((empty, lanes.confidence))[order], lanes.source)
    made, live = advance(canvas, s, backbone, seed)
    stays = np.flatnonzero(live | (order < own) | s.draft.completes)
    of = of[order][stays]
    lane = np.arange(len(of)) - np.searchsorted(of, of)
    return replace(made.take(stays), lane=lane, laid=laid[stays])


def chosen(view: View, choice: Chosen) -> View:
    """The candidates that are left."""
    made = view.take(choice.row)
    if choice.confidence is not None and made.laid is not None:
        row, position = made.laid.nonzero()
        view.canvas.confidence[made.rows[row], position] = choice.confidence[row, position]
    return made
