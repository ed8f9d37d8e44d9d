"""What strategies remember from one forward to the next: columns that the canvas carries.

A strategy that kept something by question on itself would be silently wrong after a batch was halved, joined or
resumed; a column goes wherever its row goes, and begins anew when its question does.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from warmexp.models.wanted import upload

DTYPES = ("bool", "int8", "int16", "int32", "int64", "float16", "float32", "float64")


@dataclass(frozen=True)
class Column:
    """A declaration: `columns = {"streak": Column(dtype="int64")}` on a strategy's class.

    per: `position`, one entry for every response position, or `row`, one per question. dtype: as NumPy names it. fill:
    what it begins with. reset: whether a position whose token is revoked or replaced begins anew. recorded: whether the
    entries are given out with the decoded question. vocabulary: one entry per position and token; such a column is a
    tensor on the device, and costs L·V entries a row. follows: whether its entries are the proposal's, and those behind
    a window's beginning begin anew where an anchor has moved it.
    """

    per: str = "position"
    dtype: str = "float64"
    fill: float = 0
    reset: bool = False
    recorded: bool = False
    vocabulary: bool = False
    follows: bool = False

    def __post_init__(self) -> None:
        if self.per not in ("position", "row") or (self.vocabulary and self.per == "row"):
            raise ValueError(
                f"a column is per position or per row, not per {self.per}; a vocabulary belongs to a position"
            )
        if self.dtype not in DTYPES:
            raise ValueError(f"a column has one of the types {', '.join(DTYPES)}, not {self.dtype}")


class Columns:
    """The columns of a canvas's rows, by name: [B, L] or [B] arrays, [B, L, V] tensors."""

    def __init__(
        self,
        declared: Mapping[str, Column],
        rows: int,
        length: int,
        vocabulary: int = 0,
        device: torch.device | None = None,
    ):
        self.declared = declared
        self.values: dict[str, Any] = {}
        for name, column in declared.items():
            if column.vocabulary:
                kind = getattr(torch, column.dtype)
                self.values[name] = torch.full((rows, length, vocabulary), column.fill, dtype=kind, device=device)
            else:
                shape = (rows,) if column.per == "row" else (rows, length)
                self.values[name] = np.full(shape, column.fill, dtype=column.dtype)

    def begin(self, row: int, given: Mapping[str, Any]) -> None:
        """What a row begins with instead of `fill`."""
        for name, value in given.items():
            self.values[name][row] = value

    def window(self, name: str, rows: np.ndarray, positions: np.ndarray) -> Any:
        """[n, W] or [n], of some rows. positions: [n, W]. Of a column with a vocabulary: [R, V] at R pairs of row and
        position."""
        value = self.values[name]
        if isinstance(value, Tensor):
            return value[upload(rows, value.device), upload(positions, value.device)]
        return value[rows] if value.ndim == 1 else value[rows[:, None], positions]

    def store(self, name: str, rows: np.ndarray, positions: np.ndarray, new: Any) -> None:
        """The opposite of `window`; of a column per position, [n, L] is also taken."""
        value = self.values[name]
        if isinstance(value, Tensor):
            value[upload(rows, value.device), upload(positions, value.device)] = new.to(value.dtype)
        elif value.ndim == 1 or np.shape(new)[-1] == value.shape[1] != positions.shape[1]:
            value[rows] = new
        else:
            value[rows[:, None], positions] = new

    def reset(self, row: np.ndarray, position: np.ndarray) -> None:
        """Tokens at these places, [n] each, are gone."""
        for name, column in self.declared.items():
            if column.reset and len(row):
                value = self.values[name]
                at = (
                    tuple(upload(np.ascontiguousarray(i), value.device) for i in (row, position))
                    if column.vocabulary
                    else (row, position)
                )
                value[at] = column.fill

    def recorded(self, row: int, moved: bool = False) -> dict[str, Any]:
        """What is given out of a row: numbers, or lists of them. moved: without the lists, since positions are no
        longer those of the start."""
        given = [
            name
            for name, column in self.declared.items()
            if column.recorded and not (moved and column.per == "position")
        ]
        return {name: self.values[name][row].tolist() for name in given}

    def copies(self, index: np.ndarray) -> Columns:
        """Of these rows, which may be there several times; edits of the copies leave these alone."""
        made = copy(self)
        made.values = dict(self.values)
        made.keep(index)
        return made

    def adopt(self, other: Columns, rows: np.ndarray) -> None:
        """All rows become these of the other's."""
        self.values = dict(other.values)
        self.keep(rows)

    def move(self, row: int, come: np.ndarray) -> None:
        """Position j has what stood at come[j], or begins anew where that is -1. come: [L] int64."""
        for name, column in self.declared.items():
            value = self.values[name]
            if column.per == "position":
                new = come < 0
                at, anew = (
                    (upload(come.clip(0), value.device), upload(np.flatnonzero(new), value.device))
                    if isinstance(value, Tensor)
                    else (come.clip(0), new)
                )
                value[row] = value[row, at]
                value[row, anew] = column.fill

    def keep(self, index: np.ndarray) -> None:
        for name, value in self.values.items():
            self.values[name] = value[upload(index, value.device) if isinstance(value, Tensor) else index]

    def join(self, other: Columns) -> None:
        for name, value in self.values.items():
            both = (value, other.values[name])
            self.values[name] = torch.cat(both) if isinstance(value, Tensor) else np.concatenate(both)
