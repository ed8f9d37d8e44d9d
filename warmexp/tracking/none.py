"""No tracker: the run folder is the only copy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class NoTracker:
    """Tracks nothing."""

    note = None

    def start(self, run_id: str, config: dict[str, Any], folder: Path) -> None: ...

    def progress(self, done: int, total: int, nfe_mean: float, accuracy: float) -> None: ...

    def finish(self, summary: dict[str, Any], records: list[dict[str, Any]], figures: list[Path]) -> None: ...

    def fail(self, reason: str) -> None: ...

    def mirror(self, run_id: str, config: dict[str, Any], folder: Path) -> None: ...

    def study(self, front: dict[str, Any], folder: Path, name: str) -> str | None: ...
