"""A study's plan, written and hashed before its first record: what is to be shown, against what, on how many questions.

`plan.json` in the study's folder is written once. Asked for again with another plan, the study keeps the first one and
notes the change: the number of questions raised after the results were seen, say, is a second look, and p values do not
count looks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from warmexp.config.keys import ENDPOINTS, baseline_of, endpoint_of, margin_of
from warmexp.errors import UserError
from warmexp.io import read_json, write_json
from warmexp.studies.fold import Point
from warmexp.studies.named import essences

FILE = "plan.json"


def plan_of(study: DictConfig, points: Sequence[Point]) -> dict[str, Any]:
    """What is fixed beforehand."""
    return {
        "primary_endpoint": ENDPOINTS[endpoint_of(study)],
        "margin": margin_of(study),
        "baseline": baseline_of(study),
        "stopping": "a fixed number of questions, looked at once",
        "questions": sorted({point.questions for point in points if not point.problem}),
        "runs": sorted(map(" ".join, essences([point.overrides for point in points]))),
    }


def freeze(folder: Path, plan: dict[str, Any], started: bool) -> str | None:
    """Write the plan where there is none yet.

    started: whether some run of the study has records already.
    Returns:
        a sentence where the study has another plan, which stays; None otherwise.
    """
    before = frozen(folder)
    if before is None:
        _write(
            folder,
            {"sha256": _hash(plan), "written": _now(), "before_first_record": not started, "plan": plan, "changes": []},
        )
        return None
    if _hash(plan) in (before["sha256"], *(change["sha256"] for change in before["changes"])):
        return None
    keys = [key for key, value in plan.items() if before["plan"].get(key) != value]
    changed = {key: plan[key] for key in keys if key != "runs"}
    _write(
        folder,
        {
            **before,
            "changes": [*before["changes"], {"sha256": _hash(plan), "written": _now(), "keys": keys, "now": changed}],
        },
    )
    return (
        f"note: this study's plan ({before['sha256'][:12]}, {before['written']}) says otherwise of its"
        f" {', '.join(keys)}: it stays, and the"
        " report says that it was changed"
    )


def frozen(folder: Path) -> dict[str, Any] | None:
    """What was written; None where nothing was, or where it is no longer what its hash says."""
    try:
        found = read_json(folder / FILE)
    except UserError:
        return None
    good = isinstance(found, dict) and isinstance(found.get("plan"), dict) and isinstance(found.get("changes"), list)
    return found if good and found.get("sha256") == _hash(found["plan"]) else None


def _hash(plan: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plan, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write(folder: Path, content: dict[str, Any]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): choose another outputs=FOLDER.") from None
    write_json(folder / FILE, content)
