"""The NFE–accuracy plane as a picture: one mark per run, intervals on both axes, the cold start's τ-front as the line to beat.

Colour says which proposer, the marker which init, filled or hollow whether tokens were revised (remask). It knows runs only as points.
The palette is Okabe and Ito's (2008), distinguishable with the common colour-vision deficiencies; no meaning rests on colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter

from warmexp.front.labels import Label, place
from warmexp.front.points import COLD_START, FILTERS, Point, caveats, pareto

DPI = 300
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, GREY, PALE = "#222222", "#8C8C8C", "#DEDEDE"
MARKERS = ("s", "^", "D", "v", "P", "X", "p", "h")
_FIRST_MARKERS = ("token_inject", "embed_interp")  # the same marks in every figure, whichever methods are in it
_STYLE = {
    "font.size": 9,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.8,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "savefig.facecolor": "white",
}


def nfe_accuracy_figure(points: Sequence[Point], path: Path | str, accuracy: str = "strict", title: str | None = None) -> Path:
    """Write the picture as a PNG of about 2,500 × 1,500 pixels.

    Args:
        points: the runs; with none, the picture says so.
        path: the file to write; its folder is made.
        accuracy: "strict" or "flexible", the filter of the y axis.
        title: a heading; none by default.
    Returns:
        the path written.
    Raises:
        ValueError: for an unknown filter.
    """
    if accuracy not in FILTERS:
        raise ValueError(f"accuracy={accuracy} is not one of {', '.join(FILTERS)}")
    from dataclasses import replace

    points = [replace(point, accuracy_filter=accuracy) for point in points]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(8.4, 5.0), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        _frame(figure, axes, points, accuracy, title)
        colours, markers = _colours(points), _markers(points)
        _draw_front(axes, points)
        _draw_baselines(axes, points)
        for point in points:
            _draw_point(axes, point, GREY if point.oracle else colours[point.proposer], markers[point.method])
        _legend(figure, points, colours, markers)
        figure.draw_without_rendering()  # settles the layout, so that labels are placed in final pixels
        _annotate(axes, points, colours)
        figure.savefig(path, format="png")
    return path


def _frame(figure: Figure, axes: Axes, points: Sequence[Point], accuracy: str, title: str | None) -> None:
    axes.set_ylabel(f"accuracy, {accuracy} match (%)")
    axes.grid(color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)
    if not points:
        axes.text(0.5, 0.5, "no finished runs", ha="center", va="center", transform=axes.transAxes, color=GREY)
        axes.set(xticks=[], yticks=[])
    else:
        lowest = min(point.nfe for point in points)
        wide = lowest > 0 and max(point.nfe for point in points) > 12 * lowest  # a linear axis would squeeze the fast runs
        axes.set_xlabel("NFE, forwards per question" + (" (log scale)" if wide else ""))
        if wide:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(ScalarFormatter())
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xticks([t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if 0.8 * lowest < t])
        low = min(point.accuracy_ci95[0] for point in points)
        high = max(point.accuracy_ci95[1] for point in points)
        pad = 0.08 * (high - low) + 0.01
        axes.set_ylim(100 * max(low - pad, -0.02), 100 * min(high + pad, 1.02))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
        left = min(point.nfe_ci95[0] for point in points)
        right = max(point.nfe_ci95[1] for point in points)
        if wide:
            axes.set_xlim(left / 1.15, right * 1.15)
        else:
            margin = 0.06 * (right - left) + 0.1
            axes.set_xlim(max(left - margin, 0), right + margin)
    counts = sorted({point.n for point in points})
    about = [f"n = {', '.join(map(str, counts))}; bars: 95 % intervals"] if counts else []
    taus = {point.tau for point in points}
    if len(taus) == 1 and None not in taus:
        about.insert(0, f"τ = {taus.pop():g}")
    lines = ["; ".join(about), *caveats(points)]
    axes.set_title("\n".join(filter(None, lines)), loc="left", fontsize=8, color="#555555")
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")


def _draw_front(axes: Axes, points: Sequence[Point]) -> None:
    front = pareto(points)
    if len(front) > 1:
        axes.step([p.nfe for p in front], [100 * p.accuracy for p in front], where="post", color=PALE, linewidth=5, zorder=1)


def _draw_baselines(axes: Axes, points: Sequence[Point]) -> None:
    for line in _baselines(points):
        axes.plot([p.nfe for p in line], [100 * p.accuracy for p in line], color=INK, linewidth=1.3, zorder=2)


def _baselines(points: Sequence[Point]) -> list[list[Point]]:
    """The cold start's runs in NFE order, apart by unmasking policy; a run that also revises is no baseline."""
    cold = [p for p in points if p.method == COLD_START and p.remask == "none" and not p.oracle]
    groups = [[p for p in cold if (p.unmask, p.backbone, p.task) == key] for key in sorted({(p.unmask, p.backbone, p.task) for p in cold})]
    return [sorted(group, key=lambda p: p.nfe) for group in groups if len(group) > 1]


def _draw_point(axes: Axes, point: Point, colour: str, marker: str) -> None:
    x, y = point.nfe, 100 * point.accuracy
    (left, right), (low, high) = point.nfe_ci95, point.accuracy_ci95
    axes.plot([left, right], [y, y], color=colour, linewidth=0.9, alpha=0.55, zorder=3)
    axes.plot([x, x], [100 * low, 100 * high], color=colour, linewidth=0.9, alpha=0.55, zorder=3)
    axes.plot([x], [y], **_mark(colour, marker, hollow=point.remask != "none"), zorder=5)


def _mark(colour: str, marker: str, hollow: bool) -> dict:
    face = "white" if hollow else colour
    return {
        "marker": marker,
        "color": colour,
        "markerfacecolor": face,
        "markeredgecolor": colour if hollow else "white",
        "markeredgewidth": 1.4 if hollow else 0.6,
        "markersize": 6.2 if hollow else 7,
        "linestyle": "none",
    }


def _colours(points: Sequence[Point]) -> dict[str, str]:
    names = sorted({point.proposer for point in points if not point.oracle} - {"none"})
    return {"none": INK} | {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(names)}


def _markers(points: Sequence[Point]) -> dict[str, str]:
    others = sorted({point.method for point in points} - {COLD_START, *_FIRST_MARKERS})
    names = (*_FIRST_MARKERS, *others)
    return {COLD_START: "o"} | {name: MARKERS[index % len(MARKERS)] for index, name in enumerate(names)}


def _legend(figure: Figure, points: Sequence[Point], colours: dict[str, str], markers: dict[str, str]) -> None:
    shown = [point for point in points if not point.oracle]
    handles: list[Line2D] = []

    def heading(text: str) -> None:
        handles.append(Line2D([], [], linestyle="none", label=(" \n" if handles else "") + text))

    proposers = [name for name in colours if name in {p.proposer for p in shown}]
    if proposers:
        heading("proposer")
        names = {"none": "none (cold start)"}
        handles += [Line2D([], [], **_mark(colours[name], "o", False), label=names.get(name, name)) for name in proposers]
    methods = [name for name in markers if name in {p.method for p in points}]
    if methods:
        heading("init")
        handles += [Line2D([], [], **_mark("#666666", markers[name], False), label=name) for name in methods]
    if any(point.remask != "none" for point in points):
        heading("remask")
        handles.append(Line2D([], [], **_mark("#666666", "o", False), label="none"))
        kinds = sorted({point.remask for point in points} - {"none"})
        handles.append(Line2D([], [], **_mark("#666666", "o", True), label=", ".join(kinds)))
    lines = []
    if _baselines(points):
        lines.append(Line2D([], [], color=INK, linewidth=1.3, label="cold start, τ varied"))
    if len(pareto(points)) > 1:
        lines.append(Line2D([], [], color=PALE, linewidth=5, label="not dominated"))
    if any(point.oracle for point in points):
        lines.append(Line2D([], [], **_mark(GREY, "o", False), label="oracle (saw the answer)"))
    if lines:
        heading("also")
        handles += lines
    if not handles:
        return
    legend = figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=8.5, handlelength=1.6, labelspacing=0.45)
    for handle, text in zip(handles, legend.get_texts(), strict=True):
        if handle.get_linestyle() == "None" and handle.get_marker() in ("None", None, ""):
            text.set(fontweight="bold", color="#333333")
            text.set_x(text.get_position()[0] - 24)


def _annotate(axes: Axes, points: Sequence[Point], colours: dict[str, str]) -> None:
    """Write beside each mark what tells it from the others of its kind, as far as there is room; the front comes first."""
    front = {point.run_id for point in pareto(points)}
    several_taus = len({point.tau for point in points}) > 1
    # Where all warm starts share a threshold, only the cold start's line has thresholds to tell apart.
    warm_taus = len({(point.tau, point.unmask) for point in points if point.method != COLD_START}) > 1
    labels = []
    for point in sorted(points, key=lambda p: (p.run_id not in front, p.method != COLD_START, p.nfe)):
        kin = {p.parameters for p in points if p.method == point.method}
        parts = ["oracle"] if point.oracle else []
        parts += [point.parameters] if len(kin) > 1 else []
        if several_taus and (warm_taus or (point.method == COLD_START and point.remask == "none")):
            parts.append(point.unmask if point.tau is None else f"τ={point.tau:g}")
        if parts:
            labels.append(Label(point.nfe, 100 * point.accuracy, " ".join(parts), GREY if point.oracle else colours[point.proposer]))
    bars = [((p.nfe_ci95[0], 100 * p.accuracy), (p.nfe_ci95[1], 100 * p.accuracy)) for p in points]
    bars += [((p.nfe, 100 * p.accuracy_ci95[0]), (p.nfe, 100 * p.accuracy_ci95[1])) for p in points]
    bars += [((a.nfe, 100 * a.accuracy), (b.nfe, 100 * b.accuracy)) for line in _baselines(points) for a, b in pairwise(line)]
    place(axes, labels, [(p.nfe, 100 * p.accuracy) for p in points], bars)
