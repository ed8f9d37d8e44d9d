"""What a strategy returned, looked at before it is used: a class that is wrong is told so in one sentence."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from warmexp.decode.columns import Column
from warmexp.decode.edit import Replacement, Resize
from warmexp.decode.mixture import Mixture
from warmexp.decode.reading import Word
from warmexp.decode.view import View
from warmexp.errors import UserError

if TYPE_CHECKING:
    from warmexp.decode.strategy import Strategy
    from warmexp.models.backbone import Backbone

_KINDS = {"bool": "b", "int64": "i", "float64": "f"}


def array(owner: object, hook: str, value: Any, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """The value, if it is an array of that shape and kind.

    Raises:
        UserError: it is not; names class, hook, what was expected and what came.
    """
    if isinstance(value, np.ndarray) and value.shape == shape and value.dtype.kind == _KINDS[dtype]:
        return value
    raise UserError(
        f"{hook_of(owner, hook)} has to return a NumPy array of {dtype}, {_shape(shape)}; it returned {came(value)}."
    )


def inside(owner: object, hook: str, chosen: Any, eligible: np.ndarray, view: View, what: str) -> np.ndarray:
    """The choice, [n, W] bool, if it lies within what is eligible. what: the name of that."""
    made = array(owner, hook, chosen, eligible.shape, "bool")
    if (made > eligible).any():
        i, j = (int(index[0]) for index in (made & ~eligible).nonzero())
        raise UserError(
            f"{hook_of(owner, hook)} has to choose among view.{what}; it chose position {view.positions[i, j]} of"
            f" question {view.questions[i]}, which is not among them: return view.{what} & …"
        )
    return made


def optional(owner: object, hook: str, chosen: Any, eligible: np.ndarray, view: View, what: str) -> np.ndarray | None:
    """As `inside`, of a hook that may choose nothing by returning None."""
    return None if chosen is None else inside(owner, hook, chosen, eligible, view, what)


def guide(owner: object, model: Backbone, backbone: Backbone) -> Backbone:
    """The model that `model` returned, if it has as many tokens as the backbone: ids are all that it is told."""
    if model.vocabulary != backbone.vocabulary:
        raise UserError(
            f"{hook_of(owner, 'model')} has to return a model of the backbone's vocabulary, {backbone.vocabulary}"
            f" tokens; it returned one of {model.vocabulary}: choose guide=self, or a guide with the backbone's"
            " tokenizer."
        )
    return model


def wanted(owner: object, value: Any, view: View) -> np.ndarray:
    """What `wanted` returned, [n, L] bool."""
    return array(owner, "wanted", value, (len(view.rows), view.canvas.length), "bool")


def notes(owner: object, value: Any, view: View) -> Sequence[Any]:
    """What `note` returned: as many as there are rows."""
    if not isinstance(value, list) or len(value) != len(view.rows):
        has = f"a list of {len(value)}" if isinstance(value, list) else came(value)
        raise UserError(f"{hook_of(owner, 'note')} has to return a list of {len(view.rows)}; it returned {has}.")
    return value


def replacement(owner: object, value: Any, view: View) -> Replacement | None:
    """What `replace` returned."""
    if value is None:
        return None
    if not isinstance(value, Replacement):
        raise UserError(f"{hook_of(owner, 'replace')} has to return a Replacement or None; it returned {came(value)}.")
    shape = view.revocable.shape
    inside(owner, "replace", value.where, view.revocable, view, "revocable")
    array(owner, "replace", value.token, shape, "int64")
    array(owner, "replace", value.confidence, shape, "float64")
    if (value.token == view.canvas.mask_id)[value.where].any():
        raise UserError(
            f"{hook_of(owner, 'replace')} has to put tokens in the place of tokens; it put the mask there: revoke it"
            " in select."
        )
    vocabulary = view.canvas.vocabulary
    if vocabulary and (wrong := value.where & ((value.token < 0) | (value.token >= vocabulary))).any():
        raise UserError(
            f"{hook_of(owner, 'replace')} has to put tokens from 0 to {vocabulary - 1}; it put {value.token[wrong][0]}."
        )
    return value if value.where.any() else None


def fed(owner: object, value: Any, view: View) -> Mixture | None:
    """What `mixture` of a feed returned: tokens of the vocabulary, at masks."""
    if value is None:
        return None
    if not isinstance(value, Mixture):
        raise UserError(f"{hook_of(owner, 'mixture')} has to return a Mixture or None; it returned {came(value)}.")
    where = (len(view.rows), view.canvas.length)
    count = value.token.shape[-1] if isinstance(value.token, np.ndarray) and value.token.ndim == 3 else 1
    token = array(owner, "mixture, token:", value.token, (*where, count), "int64")
    weight = array(owner, "mixture, weight:", value.weight, (*where, count), "float64")
    mask = array(owner, "mixture, mask:", value.mask, where, "float64")
    some = (weight > 0).any(-1)
    if not (np.isfinite(weight).all() and (weight >= 0).all() and np.isfinite(mask).all()):
        raise UserError(f"{hook_of(owner, 'mixture')} has to return finite shares of at least 0.")
    if (some & ~view.whole("masked")).any():
        raise UserError(f"{hook_of(owner, 'mixture')} has to feed masked positions alone.")
    if ((token < 0) | (token >= (view.canvas.vocabulary or np.inf)))[weight > 0].any():
        raise UserError(f"{hook_of(owner, 'mixture')} has to feed tokens of the vocabulary.")
    return value if some.any() else None


def resize(owner: object, value: Any, view: View) -> Resize | None:
    """What `resize` returned: positions appear in the window or behind it, and only those that the canvas has go."""
    if value is None:
        return None
    name, rows, length = hook_of(owner, "resize"), len(view.rows), view.canvas.length
    if not isinstance(value, Resize):
        raise UserError(f"{name} has to return a Resize or None; it returned {came(value)}.")
    insert = array(owner, "resize, insert:", value.insert, (rows, length + 1), "int64")
    delete = array(owner, "resize, delete:", value.delete, (rows, length), "bool")
    extent, at = view.canvas.extent[view.rows], np.arange(length + 1)
    wrong = (insert != 0) & ((at < view.start[:, None]) | (at > extent[:, None])) | (insert < 0)
    if wrong.any():
        i, j = (int(index[0]) for index in wrong.nonzero())
        raise UserError(
            f"{name} has to let masks appear from the window to the canvas's end, positions {view.start[i]} to"
            f" {extent[i]}; it returned {insert[i, j]} before position {j}."
        )
    if (delete & ~view.whole("inside")).any():
        raise UserError(f"{name} has to delete positions that the canvas has.")
    now = extent + insert.sum(1) - delete.sum(1)
    if ((now < 1) | (now > length)).any():
        i = int(((now < 1) | (now > length)).argmax())
        raise UserError(
            f"{name} has to leave a canvas of 1 to {length} positions; question {view.questions[i]} would have"
            f" {now[i]}."
        )
    return value if insert.any() or delete.any() else None


def word(owner: object, value: Any, before: Word) -> Word:
    """What `weigh` returned."""
    if not isinstance(value, Word):
        raise UserError(f"{hook_of(owner, 'weigh')} has to return a Word; it returned {came(value)}.")
    for name in ("token", "confidence"):
        new, old = getattr(value, name), getattr(before, name)
        if not isinstance(new, Tensor) or new.shape != old.shape or new.dtype != old.dtype or new.device != old.device:
            raise UserError(
                f"{hook_of(owner, 'weigh')} has to return a {name} of {old.dtype}, {_shape(tuple(old.shape))}, on"
                f" {old.device}; it returned {came(new)}."
            )
    return value


def heard(owners: Sequence[object], token: np.ndarray, confidence: np.ndarray, view: View) -> None:
    """What evidence made of the backbone's word, once it is on the host: [R] each."""
    names = " and ".join(hook_of(owner, "weigh") for owner in owners)
    masked, vocabulary = view.masked[view.at], view.canvas.vocabulary
    wrong = masked & ((token == view.canvas.mask_id) | (token < 0) | (token >= vocabulary))
    if wrong.any():
        raise UserError(
            f"{names} has to propose tokens from 0 to {vocabulary - 1} and not the mask ({view.canvas.mask_id}); it"
            f" proposed {token[wrong][0]}."
        )
    wrong = ~((confidence >= 0) & (confidence <= 1 + 1e-9))  # NaN is neither
    if wrong.any():
        raise UserError(f"{names} has to give confidences in [0, 1]; it gave {confidence[wrong][0]}.")


def column(owner: object, name: str, value: Any, declared: Column, view: View) -> Any:
    """What `remember` returned for a column of its own."""
    hook = hook_of(owner, "remember")
    if declared.vocabulary:
        raise UserError(
            f"{hook} cannot return {name}, a column with a vocabulary: return it from measure, which has the logits."
        )
    rows, width, length = len(view.rows), view.canvas.width, view.canvas.length
    shapes = [(rows,)] if declared.per == "row" else [(rows, width), (rows, length)]
    if (
        isinstance(value, np.ndarray)
        and value.shape in shapes
        and np.can_cast(value.dtype, declared.dtype, "same_kind")
    ):
        return value
    expected = " or ".join(map(_shape, shapes))
    raise UserError(
        f"{hook} has to return {name} as a NumPy array of {declared.dtype}, {expected}; it returned {came(value)}."
    )


def measured(
    owner: Strategy, values: Any, logits: Tensor, taken: Container[str], declared: Mapping[str, Column]
) -> Mapping[str, Tensor]:
    """What `measure` returned of `logits` [R, V]. taken: names that others have measured. declared: everybody's
    columns."""
    count, hook = len(logits), hook_of(owner, "measure")
    for name, value in named(owner, "measure", values).items():
        if name in taken or (name in declared and name not in owner.columns):
            raise UserError(f"{hook} returns {name}, which is another method's: one of them needs another name.")
        stored = name in declared
        if stored and not declared[name].vocabulary:
            raise UserError(
                f"{hook} returns {name}, which is a column without a vocabulary: return it from remember, or rename it."
            )
        shape = (count, logits.shape[1]) if stored else (count,)
        if not isinstance(value, Tensor) or value.shape != shape or value.device != logits.device:
            what = "logit" if stored else "position"
            raise UserError(
                f"{hook} has to return {name} as a tensor of {_shape(shape)} entries on {logits.device}, one per"
                f" {what} that is read; it returned {came(value)}."
            )
    return values


def named(owner: object, hook: str, value: Any, known: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """What `measure` or `remember` returned: values by name, of `known` names if any."""
    if not isinstance(value, Mapping):
        raise UserError(f"{hook_of(owner, hook)} has to return values by name; it returned {came(value)}.")
    for name in value:
        if known is not None and name not in known:
            has = ", ".join(known) or "none"
            raise UserError(
                f"{hook_of(owner, hook)} has to return its own columns; {name} is none of them ({has}): declare it in"
                " `columns`."
            )
    return value


def hook_of(owner: object, hook: str) -> str:
    """As sentences name it."""
    return f"{type(owner).__name__}.{hook}"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def came(value: Any) -> str:
    """What a value is, without its contents."""
    shape, kind = getattr(value, "shape", None), type(value).__name__
    if shape is None:
        return kind
    where = f" on {value.device}" if isinstance(value, Tensor) else ""
    return f"{'a tensor' if where else kind} of {value.dtype}, {_shape(tuple(shape))}{where}"
