"""Where a search keeps its trials: a journal in the study's folder, or a database."""

from __future__ import annotations

import os
from pathlib import Path

from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import get_lock_file

from warmexp.errors import UserError

JOURNAL = "optuna.journal"


class Journal(JournalFileBackend):
    """Optuna's journal, which only grows, so that many processes on a shared file system can write it. A last line that
    was torn (a full disk, a power cut) would make all of it unreadable as soon as another line is written behind it:
    it is cut off before."""

    def __init__(self, file: Path):
        super().__init__(str(file))
        if not _torn(file):
            return
        with get_lock_file(self._lock):  # somebody may have been writing
            if _torn(file):
                text = file.read_bytes()
                os.truncate(file, text.rfind(b"\n") + 1)


def _torn(file: Path) -> bool:
    with file.open("rb") as lines:
        size = lines.seek(0, os.SEEK_END)
        lines.seek(max(size - 1, 0))
        return size > 0 and lines.read() != b"\n"


def opened(folder: Path, url: str | None, look: bool) -> BaseStorage:
    """The storage of a search.

    url: of a database, as SQLAlchemy writes it; None is the journal in the folder. look: write nothing where there is
    nothing yet.
    Raises:
        UserError: it cannot be opened.
    """
    if url is None:
        file = folder / JOURNAL
        if look and not file.exists():
            return InMemoryStorage()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return JournalStorage(Journal(file))
        except OSError as error:
            raise UserError(f"{file} cannot be written ({error.strerror}): choose another outputs=FOLDER.") from None
        except ValueError as error:  # damaged in the middle
            raise UserError(
                f"{file} cannot be read ({error}): move it away; the runs of its trials stay, and are reused."
            ) from None
    try:
        return RDBStorage(url)
    except Exception as error:  # of SQLAlchemy, of a driver, of an import
        why = " ".join(str(getattr(error, "orig", None) or error).split())[:200].replace(url, "…")
        raise UserError(
            f"hydra.sweeper.storage={_shown(url)} cannot be opened ({why.rstrip('.')}): write a url such as"
            " postgresql://HOST/DATABASE or sqlite:///FILE, or leave it out for a journal in the study's folder."
        ) from None


def _shown(url: str) -> str:
    """Without the name and the password that it may have."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if rest else "…"
