"""A file system without locks: the work is done, and one sentence says so."""

from __future__ import annotations

import errno

import filelock
import pytest

from warmexp import locks
from warmexp.locks import Lock


@pytest.fixture
def without_locks(monkeypatch):
    """What `flock` answers on such a file system."""

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr(locks, "_said", set())


def test_a_run_is_made_where_there_are_no_locks(without_locks, tmp_path):
    from warmexp.api import run_overrides

    said: list[str] = []
    for _ in range(2):
        summary, folder = run_overrides(["task.limit=2", "init=token_inject", f"outputs={tmp_path}"], said.append)
        assert summary["n"] == 2
    assert sum("has no locks" in sentence and str(folder) in sentence for sentence in said) == 1


@pytest.mark.filterwarnings("ignore:flock not supported")  # the library's own sentence
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_every_way_to_say_it_is_understood(number, monkeypatch, tmp_path):
    def refuse(*_):
        raise OSError(number, "no")

    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr(locks, "_said", set())
    said: list[str] = []
    lock = Lock(tmp_path / "a.lock", said.append)
    lock.acquire(timeout=0)
    lock.release()
    with Lock(tmp_path / "b.lock", said.append):
        pass
    assert len(said) == (number != errno.ENOSYS)  # then the library makes a lock of another kind


def test_where_there_are_locks_they_hold(tmp_path):
    first, second = Lock(tmp_path / "a.lock"), Lock(tmp_path / "a.lock")
    first.acquire(timeout=0)
    with pytest.raises(filelock.Timeout):
        second.acquire(timeout=0)
    first.release()
    second.acquire(timeout=0)
    second.release()


def test_a_folder_that_cannot_be_written_is_still_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        Lock(tmp_path / "file" / "a.lock").acquire(timeout=0)
