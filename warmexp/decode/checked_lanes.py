"""What a draft returned, looked at before it is used."""

from __future__ import annotations

from typing import Any

import numpy as np

from warmexp.decode.canvas import DECODED, INJECTED
from warmexp.decode.checked import array, came, hook_of
from warmexp.decode.lanes import Chosen, Lanes, questions_of
from warmexp.decode.view import View
from warmexp.errors import UserError


def lanes(owner: object, value: Any, view: View) -> Lanes | None:
    """What `lanes` returned; None where there are none."""
    if value is None:
        return None
    name = hook_of(owner, "lanes")
    if not isinstance(value, Lanes):
        raise UserError(f"{name} has to return Lanes or None; it returned {came(value)}.")
    count, canvas = len(np.atleast_1d(value.row)), view.canvas
    shape = (count, canvas.length)
    array(owner, "lanes, row:", value.row, (count,), "int64")
    array(owner, "lanes, where:", value.where, shape, "bool")
    array(owner, "lanes, token:", value.token, shape, "int64")
    array(owner, "lanes, confidence:", value.confidence, shape, "float64")
    if value.source not in (DECODED, INJECTED):
        raise UserError(f"{name} has to say that tokens are decoded or injected; it said source={value.source!r}.")
    if not count:
        return None
    if ((value.row < 0) | (value.row >= len(view.rows))).any():
        raise UserError(f"{name} has to return rows of the view, 0 to {len(view.rows) - 1}; it returned {value.row}.")
    masked = view.whole("masked")[value.row]
    if (over := value.where & ~masked).any():
        i, j = (int(index[0]) for index in over.nonzero())
        raise UserError(
            f"{name} has to lay tokens on masks; it laid one on position {j} of question"
            f" {view.questions[value.row[i]]}, where one stands."
        )
    said = value.token[value.where]
    if (wrong := (said < 0) | (said >= (canvas.vocabulary or np.inf)) | (said == canvas.mask_id)).any():
        raise UserError(f"{name} has to lay tokens of the vocabulary, and not the mask; it laid {said[wrong][0]}.")
    return value


def asked(owner: object, value: Any, view: View) -> np.ndarray | None:
    """What `asks` returned; None where it asks nothing."""
    if value is None:
        return None
    made = array(owner, "asks", value, (len(view.rows), view.canvas.length), "int64")
    if (made >= (view.canvas.vocabulary or np.inf)).any():
        raise UserError(
            f"{hook_of(owner, 'asks')} has to ask about tokens of the vocabulary; it asked about {made.max()}."
        )
    return made if (made >= 0).any() else None


def choice(owner: object, value: Any, view: View) -> Chosen:
    """What `choose` returned: a candidate of its own for every question."""
    name = hook_of(owner, "choose")
    if not isinstance(value, Chosen):
        raise UserError(f"{name} has to return a Chosen; it returned {came(value)}.")
    of = questions_of(view.candidates)
    questions = int(of[-1]) + 1
    array(owner, "choose, row:", value.row, (questions,), "int64")
    inside = (value.row >= 0) & (value.row < len(of))
    if not inside.all() or (of[value.row] != np.arange(questions)).any():
        raise UserError(f"{name} has to choose for every question one of its own candidates; it chose {value.row}.")
    if value.confidence is not None:
        array(owner, "choose, confidence:", value.confidence, (questions, view.canvas.length), "float64")
    return value
