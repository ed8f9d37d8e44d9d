"""`wandb.json` in a run's or study's folder: what of it was sent where, so that it is sent once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from warmexp.errors import UserError
from warmexp.io import read_bytes, write_json
from warmexp.tracking.client import Destination, choose
from warmexp.tracking.server import server

FILE = "wandb.json"


@dataclass(frozen=True)
class Sent:
    """One W&B run that holds this folder's content.

    where: its address, or the client's folder where it is kept offline. content: a digest of what was sent; None for a
    run's folder, which is never sent before it is finished.
    """

    server: str
    entity: str | None  # as asked for
    project: str
    key: str
    group: str | None
    online: bool
    where: str
    content: str | None = None


_entries = TypeAdapter(list[Sent])


def already(folder: Path, to: Destination, key: str, content: str | None = None) -> Sent | None:
    """The entry of a W&B run to which there is nothing to add: it was sent, or it is kept offline and could not go
    online now either."""
    entry = next(
        (
            one
            for one in _read(folder)
            if _place(one) == (server(), to.entity, to.project, key) and one.content == content
        ),
        None,
    )
    return entry if entry and (_uploaded(folder, entry) or choose(to.mode)[0] != "online") else None


def note(folder: Path, entry: Sent) -> None:
    """Write down that the folder was sent; an earlier entry for the same W&B run is replaced.

    What was sent online gets `wandb sync`'s own mark beside its offline files, so that `wandb sync` skips them.
    """
    entries = [other for other in _read(folder) if _place(other) != _place(entry)]
    try:
        write_json(folder / FILE, [asdict(one) for one in [*entries, entry]])
        for file in _offline(folder, entry.key) if entry.online else ():
            _mark(file).touch()
    except (UserError, OSError):
        pass  # it would be sent again, under the same id


def _uploaded(folder: Path, entry: Sent) -> bool:
    """Whether W&B has it: it was sent online, or `wandb sync` has left its mark beside the newest offline files."""
    return entry.online or any(_mark(file).exists() for file in _offline(folder, entry.key)[-1:])


def _read(folder: Path) -> list[Sent]:
    """A file that cannot be read says nothing: the run is then sent again, under the same id."""
    try:
        return _entries.validate_json(read_bytes(folder / FILE))
    except (UserError, ValidationError):
        return []


def _offline(folder: Path, key: str) -> list[Path]:
    return sorted((folder / "wandb").glob(f"offline-run-*/run-{key}.wandb"))


def _mark(file: Path) -> Path:
    return file.with_name(file.name + ".synced")


def _place(entry: Sent) -> tuple[str, str | None, str, str]:
    return entry.server, entry.entity, entry.project, entry.key
