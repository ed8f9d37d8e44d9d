"""The report: one HTML file that shows a front, its runs, pairs of runs and single decodes, and opens anywhere without
a network."""

from __future__ import annotations

from pathlib import Path

from warmexp.analysis.result import Front
from warmexp.io import write_text


def write_report(front: Front, file: Path | str, title: str = "warmexp report") -> Path:
    """Write the report of a front and return its path. The runs' records are read from their folders.

    Raises:
        UserError: where the file cannot be written.
    """
    from warmexp.report.html.content import blocks
    from warmexp.report.html.page import page

    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, page(title, blocks(front, title)))
    return file
