"""What the strategies that say where questions stand returned (init, schedule, cache, length, anchor), looked at before
it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from warmexp.decode.canvas import Question, Size, Start
from warmexp.decode.checked import array, came, hook_of, named
from warmexp.decode.columns import Column
from warmexp.decode.view import Span, View
from warmexp.errors import UserError


def starts(
    owner: object, hook: str, values: Any, questions: Sequence[Question], length: int, mask_id: int, vocabulary: int
) -> list[Start]:
    """What `start` made of each question, or `prepare` of all of them."""
    if not isinstance(values, list) or len(values) != len(questions):
        has = f"a list of {len(values)}" if isinstance(values, list) else came(values)
        raise UserError(f"{hook_of(owner, hook)} has to return a list of {len(questions)} Starts; it returned {has}.")
    for value, question in zip(values, questions, strict=True):
        _start(owner, hook, value, question, length, mask_id, vocabulary)
    return values


def _start(owner: Any, hook: str, value: Any, question: Question, length: int, mask_id: int, vocabulary: int) -> None:
    name = hook_of(owner, hook)
    if not isinstance(value, Start):
        raise UserError(f"{name} has to return a Start; it returned {came(value)}.")
    tokens = array(owner, f"{hook}, tokens:", value.tokens, (length,), "int64")
    injected = array(owner, f"{hook}, injected:", value.injected, (length,), "bool")
    if (wrong := ~((tokens >= 0) & (tokens < vocabulary))).any() or (wrong := injected & (tokens == mask_id)).any():
        at = int(wrong.argmax())
        raise UserError(
            f"{name} has to lay tokens of the vocabulary (0 to {vocabulary - 1}), and inject none that is the mask"
            f" ({mask_id}); it laid {tokens[at]} at position {at} of question {question.id}."
        )
    if value.fixed is not None:
        fixed = array(owner, f"{hook}, fixed:", value.fixed, (length,), "bool")
        if (fixed & ~injected).any():
            at = int((fixed & ~injected).argmax())
            raise UserError(f"{name} has to fix what it injects; it fixed position {at} of question {question.id}.")
    if value.weight is not None:
        shares(owner, f"{hook}, weight:", value.weight, (length,))
    if isinstance(value.forwards, bool) or not isinstance(value.forwards, int | np.integer) or value.forwards < 0:
        raise UserError(
            f"{name} has to return the number of forwards that were run for it; it returned {value.forwards!r}."
        )
    begin(owner, hook, value.columns, owner.columns, length)


def begin(owner: object, hook: str, columns: Any, declared: Mapping[str, Column], length: int) -> None:
    """What columns begin with."""
    for name, value in named(owner, hook, columns, declared).items():
        shape = getattr(value, "shape", ())
        if shape != () and (declared[name].per == "row" or shape[:1] != (length,)):
            expected = "a number" if declared[name].per == "row" else f"a number, or {length} of them"
            raise UserError(f"{hook_of(owner, hook)} has to begin {name} with {expected}; it returned {came(value)}.")


def shares(owner: object, hook: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Shares of embeddings, in [0, 1]."""
    made = array(owner, hook, value, shape, "float64")
    wrong = made[~((made >= 0) & (made <= 1))]  # NaN is neither
    if len(wrong):
        raise UserError(f"{hook_of(owner, hook)} has to return shares in [0, 1]; it returned {wrong[0]}.")
    return made


def width(owner: object, value: Any, length: int) -> int:
    """What `width` returned."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= length:
        said = value if isinstance(value, int | float) else came(value)
        raise UserError(
            f"{hook_of(owner, 'width')} has to return a number of tokens from 1 to {length}, the canvas; it returned"
            f" {said}."
        )
    return int(value)


def window(owner: object, value: Any, start: np.ndarray, todo: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """What `advance` returned: windows on the canvas that do not go back, with something to do in each as long as there
    is anything."""
    name = hook_of(owner, "advance")
    if not isinstance(value, tuple) or len(value) != 2:
        raise UserError(
            f"{name} has to return where the windows begin and whether there is anything left to do; it returned"
            f" {came(value)}."
        )
    now = array(owner, "advance", value[0], start.shape, "int64")
    live = array(owner, "advance", value[1], start.shape, "bool")
    last = todo.shape[1] - width
    if ((now < start) | (now > last)).any():
        row = int(((now < start) | (now > last)).argmax())
        raise UserError(
            f"{name} has to move windows on, to {last} at most, where the canvas ends; it moved one from {start[row]}"
            f" to {now[row]}."
        )
    left = np.asarray(todo.any(1))
    if (live != left).any():
        row = int((live != left).argmax())
        raise UserError(
            f"{name} has to go on exactly as long as anything is left to do: it said {live[row]} where todo.any() is"
            f" {left[row]}."
        )
    idle = live & ~todo[np.arange(len(now))[:, None], now[:, None] + np.arange(width)].any(1)
    if idle.any():
        row = int(idle.argmax())
        raise UserError(
            f"{name} has to choose windows with something to do; it chose {now[row]}, and position"
            f" {todo[row].argmax()} is next."
        )
    return now, live


def listened(owner: object, idle: np.ndarray, questions: Sequence[Question]) -> None:
    """No window is looked at again in which nothing may be revised. idle: [n] bool."""
    if idle.any():
        raise UserError(
            f"{hook_of(owner, 'again')} asks for another look at question {questions[int(idle.argmax())].id}, where"
            " `may_fire` says that nothing can be revised: let them agree."
        )


def begins(owner: object, value: Any, question: Question, longest: int) -> int:
    """What `begins` returned."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= longest:
        said = value if isinstance(value, int | float) else came(value)
        raise UserError(
            f"{hook_of(owner, 'begins')} has to return a number of positions from 1 to {longest}; it returned {said}"
            f" for question {question.id}."
        )
    return int(value)


def sizes(owner: object, values: Any, begun: Sequence[int], longest: int) -> list[Size]:
    """What `prepare` of a length returned."""
    name = hook_of(owner, "prepare")
    if not isinstance(values, list) or len(values) != len(begun) or not all(isinstance(one, Size) for one in values):
        raise UserError(f"{name} has to return a list of {len(begun)} Sizes; it returned {came(values)}.")
    for one, first in zip(values, begun, strict=True):
        if one.begun != first or not first <= one.positions - one.ends <= one.positions <= longest:
            raise UserError(
                f"{name} has to return sizes from the {first} positions that were laid to {longest}; it returned {one}."
            )
    return values


def span(owner: Any, value: Any, view: View) -> Span:
    """What `plan` returned: computed is what is read, and more than that only if it has been kept. Where attention ends
    at blocks it may also be finished blocks alone, and nothing that stands behind a block is ever needed."""
    name, rows = hook_of(owner, "plan"), view.rows.shape
    if not isinstance(value, Span):
        raise UserError(f"{name} has to return a Span; it returned {came(value)}.")
    array(owner, "plan, start:", value.start, rows, "int64")
    array(owner, "plan, end:", value.end, rows, "int64")
    array(owner, "plan, first_only:", value.first_only, rows, "bool")
    blocks = view.canvas.attention_block
    if value.chosen is not None:
        return _set(name, owner, value, view)
    wrong = (value.start < 0) | (value.start >= view.last) | (value.end < view.last) | (value.end > view.row_length)
    if blocks:
        wrong &= (value.start < 0) | (value.start >= value.end) | (value.end != view.seen_from)
    if wrong.any():
        i = int(wrong.argmax())
        raise UserError(
            f"{name} has to compute a stretch that ends at or behind the window, {view.first[i]} to {view.last[i]} of"
            f" {view.row_length[i]} positions, and begins before its end; it returned {value.start[i]} to"
            f" {value.end[i]}."
        )
    part = value.start > 0 if blocks else value.end - value.start < view.row_length
    if part.any() and not owner.keeps:
        raise UserError(
            f"{name} computes a part of a row, and its class keeps nothing: say keeps = True, or compute everything."
        )
    if (part & (view.forwards == 0)).any():
        i = int((part & (view.forwards == 0)).argmax())
        raise UserError(
            f"{name} has to compute everything in a question's first forward, before which nothing is kept; it returned"
            f" {value.start[i]} to {value.end[i]} of {view.row_length[i]} positions."
        )
    return value


def modes(owner: Any, value: Any, view: View) -> np.ndarray:
    """What `plan` of an attention returned: [n] int64, 0 to 2, and 2 only where a pattern has been found."""
    made = array(owner, "plan", value, view.rows.shape, "int64")
    if ((made < 0) | (made > 2)).any():
        raise UserError(
            f"{hook_of(owner, 'plan')} has to return 0 (dense), 1 (dense, to find a pattern) or 2 (sparse)."
        )
    return made


def _set(name: str, owner: Any, value: Span, view: View) -> Span:
    """As `span`, of a set of positions."""
    shape = (len(view.rows), int(view.row_length.max()))
    inside = np.arange(shape[1]) < view.row_length[:, None]
    for part in ("chosen", "seen", "eligible"):
        where = getattr(value, part)
        if where is not None and (array(owner, f"plan, {part}:", where, shape, "bool") & ~inside).any():
            raise UserError(f"{name}, {part}: has to choose positions that the row has.")
    chosen = value.chosen
    if view.canvas.attention_block or not owner.keeps or chosen is None:
        raise UserError(
            f"{name} computes a set of positions, for which its class keeps nothing, or the backbone sees blocks: say"
            " keeps = True, or compute a stretch."
        )
    if not chosen.any(1).all():
        raise UserError(f"{name} has to compute something in every row.")
    seen = inside if value.seen is None else value.seen
    if (chosen & ~seen).any():
        raise UserError(f"{name} has to let what it computes be seen.")
    if ((seen & ~chosen).any(1) & (view.forwards == 0)).any():
        raise UserError(
            f"{name} has to compute everything that is seen in a question's first forward, before which nothing is"
            " kept."
        )
    return value


def something_read(owner: object, view: View) -> None:
    """After the cache has been asked: every question can still be changed by the forward, or it would never end."""
    nothing = ~(view.masked | view.revocable).any(1)
    if nothing.any():
        raise UserError(
            f"{hook_of(owner, 'plan')} has to compute something that can be committed or revised; question"
            f" {view.questions[int(nothing.argmax())]} has nothing of it in the stretch that it returned."
        )


def finished(owner: object, value: Any, final: np.ndarray) -> np.ndarray:
    """What `finished` returned: a question of which nothing is final has not been decoded."""
    made = array(owner, "finished", value, (len(final),), "bool")
    if (made & ~final.any(1)).any():
        raise UserError(
            f"{hook_of(owner, 'finished')} has to wait for something that is final; it said True where `final` is"
            " False everywhere."
        )
    return made


def moved(owner: object, value: Any, before: Question, vocabulary: int) -> Question:
    """What `moved` returned: the same question, with another proposal."""
    name = hook_of(owner, "moved")
    if not isinstance(value, Question) or (value.id, value.prompt) != (before.id, before.prompt):
        said = f"another, {value.id}" if isinstance(value, Question) else came(value)
        raise UserError(f"{name} has to return the question {before.id} with another proposal; it returned {said}.")
    # One that is longer than the canvas is cut to it by the init, as any is.
    if not all(0 <= token < vocabulary for token in value.proposal):
        raise UserError(
            f"{name} has to return a proposal of tokens of the vocabulary (0 to {vocabulary - 1}); it returned"
            f" {min(value.proposal)} to {max(value.proposal)}."
        )
    return value
