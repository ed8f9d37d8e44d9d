"""Locks that the operating system takes back when a process ends; where a file system has none, work goes on without
and it is said."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from warmexp.console import complain

# What a file system without locks answers: no such function, not supported (there or here), no locks to be had.
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOTTY}
_said: set[Path] = set()


class Lock:
    """The lock that a file stands for, not yet held. The file's folder must be there.

    say: told once for each folder where locks cannot be had; `acquire` then returns at once, for everybody.
    """

    def __init__(self, file: Path, say: Callable[[str], None] = complain):
        self._file, self._say = file, say
        self._lock = FileLock(file)

    def acquire(self, timeout: float = -1, poll_interval: float = 0.05) -> None:
        """Raises Timeout: somebody holds it. OSError: the file cannot be written."""
        try:
            self._lock.acquire(timeout=timeout, poll_interval=poll_interval)
        except (OSError, NotImplementedError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
                raise
            if self._file.parent not in _said:
                _said.add(self._file.parent)
                self._say(
                    f"warning: the file system of {self._file.parent} has no locks: let one process at a time work"
                    " there."
                )

    def release(self) -> None:
        """Does nothing where it is not held."""
        if self._lock.is_locked:
            self._lock.release()

    def __enter__(self) -> Lock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
