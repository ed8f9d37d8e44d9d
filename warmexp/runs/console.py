"""The progress bar: done, ETA, running NFE and accuracy. Drawn only where standard error is a terminal; silent
elsewhere."""

from __future__ import annotations

import sys
from contextlib import suppress
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from warmexp.console import visible


class ProgressBar:
    """Use as a context manager. total: number of questions; label: what is being done."""

    def __init__(self, total: int, label: str, console: Console | None = None):
        console = console or Console(file=sys.stderr)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[running]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(visible(label), total=total, running="")

    def __enter__(self) -> ProgressBar:
        with suppress(OSError):  # a terminal that is gone
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._progress.stop()

    def update(self, done: int, nfe_mean: float | None = None, accuracy: float | None = None) -> None:
        """done: questions so far. nfe_mean, accuracy (share in [0, 1]): running means, shown where given."""
        running = "" if nfe_mean is None else f"NFE {nfe_mean:.1f}"
        if accuracy is not None:
            running += f"  right {100 * accuracy:.1f} %"
        self._progress.update(self._task, completed=done, running=running)
