"""What a test run left out, in one line: why, and the command that would run it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

# What to do first, by a word of the reason.
FIRST = {
    "Chromium": "(apt-get install chromium || python -m playwright install chromium)",
    "playwright": "pip install playwright",
    "torchao": "pip install 'warmexp[quantization]'",
    "GSM8K": "export WARMEXP_GSM8K=FOLDER",
}


def line_of(reports: Iterable[Any]) -> str | None:
    """The line for pytest's reports of what was skipped; None where nothing was."""
    files: dict[str, list[str]] = defaultdict(list)
    for report in reports:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        files[reason.removeprefix("Skipped: ")].append(report.nodeid.partition("::")[0])
    if not files:
        return None
    parts = []
    for reason, where in sorted(files.items()):
        first = [command for word, command in FIRST.items() if word in reason]
        command = " && ".join([*first, f"python -m pytest {' '.join(sorted(set(where)))}"])
        parts.append(f"{len(where)} ({reason}; to run: {command})")
    return "not run: " + ", ".join(parts)
