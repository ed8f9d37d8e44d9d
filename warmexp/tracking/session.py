"""One W&B run from its opening to its end, guarded: whatever the client does wrong becomes one sentence, never an
error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from warmexp.secrets import without_secrets
from warmexp.tracking import sent
from warmexp.tracking.client import Destination, Opened, Wanted, first_line, open_run, remember
from warmexp.tracking.server import server


class Session:
    """note: where the run is, or why it is not. active: whether there is a W&B run to talk to."""

    def __init__(self, to: Destination, wanted: Wanted, folder: Path):
        """Begin a W&B run whose files lie in `folder`."""
        self.to, self.wanted, self.folder = to, wanted, folder
        self.note: str | None = None
        self._opened: Opened | None = None
        self._broken = False
        try:
            self._opened = open_run(to, wanted, folder)
            self.note = self._opened.note
        except Exception as error:  # a tracker never fails a run
            self._break(error)

    @property
    def active(self) -> bool:
        return self.run is not None and not self._broken

    @property
    def online(self) -> bool:
        return self._opened is not None and self._opened.online

    @property
    def kept_offline(self) -> bool:
        """Whether the run is whole so far, in files of the client's."""
        return self.active and not self.online

    @property
    def why(self) -> str:
        """Why it is offline."""
        return self._opened.why if self._opened else ""

    @property
    def run(self) -> Any:
        """The client's own run."""
        return self._opened.run if self._opened else None

    def attempt(self, action: Callable[[], Any]) -> None:
        """A call into the client; its first failure becomes the note, and what comes after it is left out."""
        if not self.active:
            return
        try:
            action()
        except Exception as error:  # a tracker never fails a run
            self._break(error)

    def close(self, failed: bool = False) -> None:
        """End the W&B run; one that is whole is noted down in its folder."""
        if self.run is None:
            return
        whole = self.active and not failed
        try:
            self.run.finish(exit_code=int(failed or not whole))
        except Exception as error:
            self._break(error)
            remember("the server did not take the last run to its end")
        if whole and self.active:
            to, wanted, opened = self.to, self.wanted, self._opened
            entry = sent.Sent(
                server(),
                to.entity,
                to.project,
                wanted.key,
                wanted.group,
                opened.online,
                where=opened.where,
                content=wanted.content,
            )
            sent.note(self.folder, entry)

    def _break(self, error: Exception) -> None:
        if not self._broken:
            self._broken = True
            self.note = (
                f"warning: W&B tracking stopped ({without_secrets(first_line(error))}); the run folder has everything."
            )
