"""One run's own picture: how its forwards are spread over questions, right answers and wrong ones apart."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from warmexp.io import write_bytes
from warmexp.palette import PALETTE


def nfe_histogram(records: list[dict[str, Any]], path: Path) -> None:
    """Write a PNG. records: those of records.jsonl. Raises UserError where it cannot be written."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    right = [r["nfe"] for r in records if r["correct"]["flexible"]]
    wrong = [r["nfe"] for r in records if not r["correct"]["flexible"]]
    figure = Figure(figsize=(5.5, 3.2), layout="constrained")
    axes = figure.add_subplot()
    top = max(right + wrong)
    bins = np.arange(-0.5, top + 1.5, max(1, top // 40))
    names = [f"right ({len(right)})", f"wrong ({len(wrong)})"]
    axes.hist([right, wrong], bins=bins, stacked=True, label=names, color=PALETTE[:2])
    axes.set(xlabel="NFE (forwards per question)", ylabel="questions")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, title="flexible answer")
    content = BytesIO()
    figure.savefig(content, format="png", dpi=150)
    write_bytes(path, content.getvalue())
