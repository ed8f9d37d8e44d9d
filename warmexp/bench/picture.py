"""The benchmark's picture: speed against the plain decoder, and how cost grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from warmexp.palette import GREY, INK, PALETTE

COLORS = dict(zip(("none", "dual", "prefix", "freecache"), PALETTE, strict=False))


def picture(result: dict[str, Any], path: Path) -> None:
    """Write a PNG with what there is of speed and growth; nothing if there is neither."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    speed, growth = result.get("speed", []), result.get("growth", [])
    panels = list(dict.fromkeys(row["what"] for row in growth))
    if not speed and not panels:
        return
    across = min(2, len(panels)) or 1
    down = -(-len(panels) // across)
    heights = [height for height in (0.45 * len(speed) + 1.2 if speed else 0, 2.8 * down) if height]
    figure = Figure(figsize=(9, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False).flatten()
    if speed:
        _speed(parts[0].subplots(), result)
    if panels:
        grid = parts[-1].subplots(down, across, squeeze=False).flatten()
        for axes, what in zip(grid, panels, strict=False):
            _growth(axes, what, [row for row in growth if row["what"] == what])
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
    figure.savefig(path, dpi=150)


def _speed(axes: Any, result: dict[str, Any]) -> None:
    rows = result["speed"]
    names = [f"{row['who']}, cache={row['cache']}, batch {row['batch']}" for row in rows]
    median = [row["tokens_per_second"]["median"] for row in rows]
    spread = [
        [m - row["tokens_per_second"]["low"], row["tokens_per_second"]["high"] - m]
        for m, row in zip(median, rows, strict=True)
    ]
    colors = [GREY if row["who"] == "plain" else COLORS.get(row["cache"], INK) for row in rows]
    axes.barh(
        names, median, color=colors, xerr=list(zip(*spread, strict=True)), error_kw={"elinewidth": 1, "capsize": 2}
    )
    top = max(row["tokens_per_second"]["high"] for row in rows)
    for i, row in enumerate(rows):
        if row["who"] != "plain":
            same = "" if row["identical"] is None else f", {row['identical']} of {row['questions']} identical"
            end = row["tokens_per_second"]["high"] + 0.01 * top
            axes.text(end, i, f"{row['ratio']['median']:.2f} × plain{same}", va="center", fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.5 * top)
    axes.set_xlabel("response tokens before the first end-of-text, per second")
    axes.set_title(
        f"{result['model']['name']}, {result['model']['dtype']}, {result['environment']['device']}",
        loc="left",
        fontsize=10,
    )
    axes.spines[["top", "right"]].set_visible(False)


NAMES = {
    "batch": "questions in a batch",
    "response": "response length (one question)",
    "prompt": "prompt length (one question, one block)",
    "runs": "runs in a study",
}


def _growth(axes: Any, what: str, rows: list[dict[str, Any]]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    for row in rows:
        label = f"cache={row['cache']}: exponent {row['exponent']:.2f}"
        axes.plot(row["sizes"], row["seconds"], "o-", markersize=4, color=COLORS.get(row["cache"], INK), label=label)
        axes.fill_between(
            row["sizes"], row["low"], row["high"], color=COLORS.get(row["cache"], INK), alpha=0.15, linewidth=0
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set(xlabel=NAMES[what], ylabel="seconds")
    axes.set_xticks(rows[0]["sizes"], [str(n) for n in rows[0]["sizes"]])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
