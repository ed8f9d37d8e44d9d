"""A run that left tests out says so in its last lines."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from tests.report import browsers
from tests.skipped import line_of


def test_what_was_skipped_is_said_with_the_command_that_runs_it():
    reason = ("tests/report/test_it.py", 3, "Skipped: there is no Chromium here")
    skipped = [SimpleNamespace(nodeid=f"tests/report/test_it.py::test_{i}", longrepr=reason) for i in range(2)]
    said = line_of(skipped)
    command = (
        "(apt-get install chromium || python -m playwright install chromium) && python -m pytest"
        " tests/report/test_it.py"
    )
    assert said == f"not run: 2 (there is no Chromium here; to run: {command})"
    assert line_of([]) is None


def test_a_browser_is_found_wherever_it_is(monkeypatch, tmp_path):
    """The system's, else the one that playwright has downloaded, else none."""
    pytest.importorskip("playwright.sync_api")
    monkeypatch.setattr(shutil, "which", {"google-chrome": "/usr/bin/google-chrome"}.get)
    assert browsers.chromium() == "/usr/bin/google-chrome"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    assert browsers.chromium() is None
    monkeypatch.setattr(browsers.os.path, "exists", lambda path: str(path).startswith(str(tmp_path)))
    assert browsers.chromium().startswith(str(tmp_path))


def test_a_test_that_hangs_is_ended(pytestconfig):
    assert 0 < float(pytestconfig.getini("faulthandler_timeout")) <= 900 and pytestconfig.getini(
        "faulthandler_exit_on_timeout"
    )
