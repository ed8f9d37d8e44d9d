"""A run that left tests out says so in its last lines."""

from __future__ import annotations

from types import SimpleNamespace

from tests.skipped import line_of


def test_what_was_skipped_is_said_with_the_command_that_runs_it():
    reason = ("tests/report/test_it.py", 3, "Skipped: there is no Chromium here")
    skipped = [SimpleNamespace(nodeid=f"tests/report/test_it.py::test_{i}", longrepr=reason) for i in range(2)]
    said = line_of(skipped)
    assert said == "not run: 2 (there is no Chromium here; to run: apt-get install chromium && python -m pytest tests/report/test_it.py)"
    assert line_of([]) is None
