"""What a strategy returned, looked at before it is used: a class that is wrong is told so in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from warmexp.decode.columns import Column
from warmexp.decode.edit import Replacement
from warmexp.decode.reading import Word
from warmexp.decode.view import View
from warmexp.errors import UserError

_KINDS = {"bool": "b", "int64": "i", "float64": "f"}


def array(owner: object, hook: str, value: Any, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """The value, if it is an array of that shape and kind.

    Raises:
        UserError: it is not; names class, hook, what was expected and what came.
    """
    if isinstance(value, np.ndarray) and value.shape == shape and value.dtype.kind == _KINDS[dtype]:
        return value
    raise UserError(f"{_name(owner, hook)} has to return a NumPy array of {dtype}, {_shape(shape)}; it returned {_came(value)}.")


def inside(owner: object, hook: str, chosen: Any, eligible: np.ndarray, view: View, what: str) -> np.ndarray:
    """The choice, [n, W] bool, if it lies within what is eligible. what: the name of that."""
    made = array(owner, hook, chosen, eligible.shape, "bool")
    if (made > eligible).any():
        i, j = (int(index[0]) for index in (made & ~eligible).nonzero())
        raise UserError(
            f"{_name(owner, hook)} has to choose among view.{what}; it chose position {view.positions[i, j]} of question"
            f" {view.questions[i]}, which is not among them: return view.{what} & …"
        )
    return made


def replacement(owner: object, value: Any, view: View) -> Replacement | None:
    """What `replace` returned."""
    if value is None:
        return None
    if not isinstance(value, Replacement):
        raise UserError(f"{_name(owner, 'replace')} has to return a Replacement or None; it returned {_came(value)}.")
    shape = view.revocable.shape
    inside(owner, "replace", value.where, view.revocable, view, "revocable")
    array(owner, "replace", value.token, shape, "int64")
    array(owner, "replace", value.confidence, shape, "float64")
    if (value.token == view.canvas.mask_id)[value.where].any():
        raise UserError(f"{_name(owner, 'replace')} has to put tokens in the place of tokens; it put the mask there: revoke it in select.")
    return value if value.where.any() else None


def word(owner: object, value: Any, before: Word) -> Word:
    """What `weigh` returned."""
    if not isinstance(value, Word):
        raise UserError(f"{_name(owner, 'weigh')} has to return a Word; it returned {_came(value)}.")
    for name in ("token", "confidence"):
        new, old = getattr(value, name), getattr(before, name)
        if not isinstance(new, Tensor) or new.shape != old.shape or new.dtype != old.dtype:
            raise UserError(
                f"{_name(owner, 'weigh')} has to return a {name} of {old.dtype}, {_shape(tuple(old.shape))}; it returned {_came(new)}."
            )
    return value


def column(owner: object, name: str, value: Any, declared: Column, view: View) -> Any:
    """What `remember` returned for a column of its own."""
    rows, width, length = len(view.rows), view.canvas.width, view.canvas.length
    shapes = [(rows,)] if declared.per == "row" else [(rows, width), (rows, length)]
    if getattr(value, "shape", None) in shapes:
        return value
    expected = " or ".join(map(_shape, shapes))
    raise UserError(f"{_name(owner, 'remember')} has to return {name} as a NumPy array, {expected}; it returned {_came(value)}.")


def measured(owner: object, values: Any, count: int) -> Mapping[str, Tensor]:
    """What `measure` returned, of `count` positions."""
    for name, value in named(owner, "measure", values).items():
        if not isinstance(value, Tensor) or value.shape[:1] != (count,):
            raise UserError(
                f"{_name(owner, 'measure')} has to return {name} as a tensor of {count} entries, one per position that is read; it"
                f" returned {_came(value)}."
            )
    return values


def named(owner: object, hook: str, value: Any, known: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """What `measure` or `remember` returned: values by name, of `known` names if any."""
    if not isinstance(value, Mapping):
        raise UserError(f"{_name(owner, hook)} has to return values by name; it returned {_came(value)}.")
    for name in value:
        if known is not None and name not in known:
            has = ", ".join(known) or "none"
            raise UserError(f"{_name(owner, hook)} has to return its own columns; {name} is none of them ({has}): declare it in `columns`.")
    return value


def _name(owner: object, hook: str) -> str:
    return f"{type(owner).__name__}.{hook}"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _came(value: Any) -> str:
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    return kind if shape is None else f"{'a tensor' if isinstance(value, Tensor) else kind} of {value.dtype}, {_shape(tuple(shape))}"
