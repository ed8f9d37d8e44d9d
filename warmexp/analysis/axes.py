"""The x axes of a front: what a run cost per question, read from a record. Lower is better on every one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from warmexp.errors import check_choice


@dataclass(frozen=True)
class Axis:
    """label: for a picture. unit: of one question's value, for a sentence. digits: after the point, in tables. read:
    from a record."""

    label: str
    unit: str
    digits: int
    read: Callable[[dict[str, Any]], float]


def _seconds(record: dict[str, Any]) -> float:
    return record["seconds"] + (record["proposal"]["seconds"] if record.get("proposal") else 0.0)


AXES = {
    "nfe": Axis("NFE, forwards per question", "forwards", 2, lambda r: r["nfe"]),
    "rows": Axis("rows, candidates of a question counted each", "rows", 2, lambda r: r.get("rows", r["nfe"])),
    "full_forward_equivalents": Axis(
        "full-forward equivalents per question, auxiliary ones included",
        "full forwards",
        2,
        lambda r: r["full_forward_equivalents"],
    ),
    "token_forwards": Axis(
        "token-forwards per question, auxiliary ones included", "token-forwards", 0, lambda r: r["token_forwards"]
    ),
    "guide_forwards": Axis(
        "forwards of a guide per question", "guide forwards", 2, lambda r: r.get("guide_forwards", 0)
    ),
    "all_forwards": Axis(
        "forwards per question, a guide's included",
        "forwards and guide forwards",
        2,
        lambda r: r["nfe"] + r.get("guide_forwards", 0),
    ),
    "all_token_forwards": Axis(
        "token-forwards per question, a guide's included",
        "token-forwards and a guide's",
        0,
        lambda r: r["token_forwards"] + r.get("guide_token_forwards", 0),
    ),
    "seconds": Axis("seconds per question, proposals included", "seconds", 3, _seconds),
}


def axis(name: str) -> Axis:
    """The axis of that name.

    Raises:
        UserError: where there is none.
    """
    check_choice("x", name, AXES)
    return AXES[name]
