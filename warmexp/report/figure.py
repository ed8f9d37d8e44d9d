"""A front as a picture for print: one mark per run, intervals on both axes, the baseline's own front as the line to
beat.

Colour says which proposer, the marker which init, filled or hollow whether tokens were revised (remask), a dot whether
questions end before their canvas is full (length). Runs on different questions stand in panels of their own, unless
they were pooled on request; then the picture says so. Oracle runs are grey and touch no line. No meaning rests on
colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter

from warmexp.analysis.points import FIXED_LENGTH
from warmexp.analysis.result import Front, Group, Result
from warmexp.io import write_bytes
from warmexp.palette import GREY, INK, PALE, WARNING, by_proposer
from warmexp.report.labels import Label, place
from warmexp.report.marks import MATPLOTLIB, ends_early, markers

DPI = 300
PANELS = 12  # at most; a report shows the rest
_IN_A_COLUMN = 3  # panels below each other, before there is a second column
CROWD = 40  # runs of a panel beyond which marks are smaller and only those on a front are named
STYLE = {
    "font.size": 9,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.8,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "savefig.facecolor": "white",
    "text.parse_math": False,  # names of options and tasks are text, whatever signs they hold
}


def front_picture(front: Front, path: Path | str, title: str | None = None) -> Path:
    """Write the picture as a PNG of about 2,500 × 1,500 pixels; each further group of runs adds a panel, and from the
    fourth on there are two columns.

    Args:
        front: with no runs, the picture says so.
        path: the file to write; its folder is made.
        title: a heading; none by default.
    Returns:
        the path written.
    """
    path = Path(path)
    panels = max(1, min(len(front.groups), PANELS))
    columns = 1 if panels <= _IN_A_COLUMN else 2
    rows = -(-panels // columns)
    with matplotlib.rc_context(STYLE):
        size = 8.4 + 5.6 * (columns - 1), 5.0 + 4.2 * (rows - 1)
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        every_axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes in every_axes[panels:]:
            axes.remove()
        every_axes = every_axes[:panels]
        colours, shown = _colours(front.runs), markers(run.point.method for run in front.runs)
        parts = [[run for run in front.runs if run.group == number] for number in range(panels)]
        for number, (axes, runs) in enumerate(zip(every_axes, parts, strict=True)):
            _panel(axes, front, number, runs, colours, shown)
        if not title and len(front.groups) > PANELS:
            title = f"Not drawn: {'; '.join(group.name for group in front.groups[PANELS:])}"
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        _legend(figure, front, colours, shown)
        figure.draw_without_rendering()  # settles the layout, so that labels are placed in final pixels
        for number, (axes, runs) in enumerate(zip(every_axes, parts, strict=True)):
            if runs:
                _annotate(axes, runs, front.groups[number], colours)
        save(figure, path)
    return path


def save(figure: Figure, path: Path) -> None:
    """Draw the whole picture, then write it: a full disk leaves no half of one. Raises UserError."""
    content = BytesIO()
    figure.savefig(content, format="png")
    write_bytes(path, content.getvalue())


def _panel(
    axes: Axes, front: Front, number: int, runs: list[Result], colours: dict[str, str], markers: dict[str, str]
) -> None:
    axes.set_ylabel(f"accuracy, {front.accuracy} match (%)")
    axes.grid(color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)
    if not runs:
        axes.text(0.5, 0.5, "no finished runs", ha="center", va="center", transform=axes.transAxes, color=GREY)
        axes.set(xticks=[], yticks=[])
        return
    group = front.groups[number]
    _scale(axes, front, runs)
    axes.set_title(
        "\n".join(_about(front, group, runs)), loc="left", fontsize=8, color=WARNING if front.pooled else "#555555"
    )
    if len(group.front) > 1:
        axes.step(*_line(group.front), where="post", color=PALE, linewidth=5, zorder=1)
    if len(group.baseline_front) > 1:
        axes.plot(*_line(group.baseline_front), color=INK, linewidth=1.3, zorder=2)
    for one in front.beside({group.task}):
        axes.plot([one.x[front.x]], [100 * one.accuracy], **_OUTSIDE, zorder=4)
        there = (one.x[front.x], 100 * one.accuracy)
        axes.annotate(one.label, there, (5, -8), textcoords="offset points", fontsize=6.5, color=GREY)
    size = 1.0 if len(runs) <= CROWD else 0.65
    for run in runs:
        colour = GREY if run.point.oracle else colours[run.point.proposer]
        _draw(axes, run, front.x, colour, markers[run.point.method], size)


def _line(corners: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in corners], [100 * accuracy for _, accuracy in corners]


def _scale(axes: Axes, front: Front, runs: list[Result]) -> None:
    beside = front.beside({run.point.task for run in runs})
    places = [*(run.x for run in runs), *(one.x[front.x] for one in beside)]
    lowest, highest = min(places), max(places)
    wide = lowest > 0 and highest > 12 * lowest  # a linear axis would squeeze the fast runs
    axes.set_xlabel(front.x_label + (" (log scale)" if wide else ""))
    left = min(lowest, *(run.x_ci95[0] for run in runs))
    right = max(highest, *(run.x_ci95[1] for run in runs))
    if wide:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks(
            [
                digit * 10**power
                for power in range(-4, 8)
                for digit in (1, 2, 5)
                if lowest / 2 < digit * 10**power < 2 * highest
            ]
        )
        axes.set_xlim(left / 1.15, right * 1.15)
    else:
        margin = 0.06 * (right - left) + 0.01 * right or 1.0  # runs without a forward
        axes.set_xlim(max(left - margin, 0 if lowest else -margin), right + margin)
    low = min(*(run.point.accuracy_ci95[0] for run in runs), *(one.accuracy for one in beside), 1.0)
    high = max(*(run.point.accuracy_ci95[1] for run in runs), *(one.accuracy for one in beside), 0.0)
    pad = 0.08 * (high - low) + 0.01
    axes.set_ylim(100 * max(low - pad, -0.02), 100 * min(high + pad, 1.02))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))


def _about(front: Front, group: Group, runs: list[Result]) -> list[str]:
    """The lines above a panel: what all its marks share, and what a reader must know before comparing them."""
    shared = [group.name] if len(front.groups) > 1 else []
    alike = {run.point.shown for run in runs}
    if len(alike) == 1 and runs[0].point.at is not None:
        shared.append(alike.pop().replace("=", " = "))
    counts = sorted({run.point.n for run in runs})
    shared.append(f"n = {', '.join(map(str, counts))}; bars: 95 % intervals")
    lines = ["; ".join(shared)]
    if front.pooled:
        lines += [sentence for sentence in front.caveats if sentence.startswith("Pooled")]
    return lines


def _draw(axes: Axes, run: Result, axis: str, colour: str, marker: str, size: float) -> None:
    x, y = run.x, 100 * run.accuracy
    (left, right), (low, high) = run.x_ci95, run.point.accuracy_ci95
    bar = {"color": colour, "linewidth": 0.9 * size, "alpha": 0.55 * size, "zorder": 3}
    axes.plot([left, right], [y, y], **bar)
    axes.plot([x, x], [100 * low, 100 * high], **bar)
    for one in run.measured.members:  # the seeds that the mark is the mean of
        place = [one.x[axis].mean()], [100 * one.right.mean()]
        axes.plot(*place, marker=".", color=colour, alpha=0.55, markersize=4 * size, linestyle="none", zorder=4)
    hollow = run.point.remask != "none"
    axes.plot([x], [y], **_mark(colour, marker, hollow, size), zorder=5)
    if ends_early(dict(run.point.settings)):
        axes.plot([x], [y], **_dot(colour, hollow, size), zorder=6)


def _mark(colour: str, marker: str, hollow: bool, size: float = 1.0) -> dict:
    face = "white" if hollow else colour
    return {
        "marker": marker,
        "color": colour,
        "markerfacecolor": face,
        "markeredgecolor": colour if hollow else "white",
        "markeredgewidth": 1.4 if hollow else 0.6,
        "markersize": size * (6.2 if hollow else 7),
        "linestyle": "none",
    }


_OUTSIDE = {"marker": "*", "color": GREY, "markerfacecolor": "white", "markersize": 8, "linestyle": "none"}


def _dot(colour: str, hollow: bool, size: float = 1.0) -> dict:
    tint = colour if hollow else "white"
    return {"marker": "o", "color": tint, "markeredgewidth": 0, "markersize": 2.6 * size, "linestyle": "none"}


def _colours(runs: Sequence[Result]) -> dict[str, str]:
    return by_proposer({run.point.proposer for run in runs if not run.point.oracle})


def _legend(figure: Figure, front: Front, colours: dict[str, str], shown: dict[str, str]) -> None:
    points = [run.point for run in front.runs]
    handles: list[Line2D | tuple[Line2D, ...]] = []  # those of a tuple are drawn over each other

    def heading(text: str) -> None:
        handles.append(Line2D([], [], linestyle="none", label=(" \n" if handles else "") + text))

    proposers = [name for name in colours if name in {p.proposer for p in points if not p.oracle}]
    if proposers:
        heading("proposer")
        names = {"none": "none (cold start)"}
        handles += [
            Line2D([], [], **_mark(colours[name], "o", False), label=names.get(name, name)) for name in proposers
        ]
    order = list(MATPLOTLIB.values())
    methods = sorted(shown, key=lambda name: order.index(shown[name]))
    if methods:
        heading("init")
        handles += [Line2D([], [], **_mark("#666666", shown[name], False), label=name) for name in methods]
    kinds = sorted({p.remask for p in points} - {"none"})
    if kinds:
        heading("remask")
        handles.append(Line2D([], [], **_mark("#666666", "o", False), label="none"))
        handles.append(Line2D([], [], **_mark("#666666", "o", True), label=", ".join(kinds)))
    early = sorted({str(dict(p.settings).get("choices.length")) for p in points if ends_early(dict(p.settings))})
    if early:
        heading("length")
        handles.append(Line2D([], [], **_mark("#666666", "o", False), label=FIXED_LENGTH))
        mark = Line2D([], [], **_mark("#666666", "o", False), label=", ".join(early))
        handles.append((mark, Line2D([], [], **_dot("#666666", False))))
    lines = []
    if any(len(group.baseline_front) > 1 for group in front.groups):
        lines.append(Line2D([], [], color=INK, linewidth=1.3, label=f"the baseline's own front\n({front.selector})"))
    if any(len(group.front) > 1 for group in front.groups):
        lines.append(Line2D([], [], color=PALE, linewidth=5, label="not dominated"))
    if any(p.oracle for p in points):
        lines.append(Line2D([], [], **_mark(GREY, "o", False), label="oracle (saw the answer)"))
    if front.beside({group.task for group in front.groups}):
        lines.append(Line2D([], [], **_OUTSIDE, label="published elsewhere"))
    if lines:
        heading("also")
        handles += lines
    if not handles:
        return
    first = [handle[0] if isinstance(handle, tuple) else handle for handle in handles]
    legend = figure.legend(
        handles,
        [handle.get_label() for handle in first],
        loc="outside right upper",
        frameon=False,
        fontsize=8.5,
        handlelength=1.6,
        labelspacing=0.45,
        handler_map={tuple: HandlerTuple(ndivide=1)},
    )
    for handle, text in zip(first, legend.get_texts(), strict=True):
        if handle.get_linestyle() == "None" and handle.get_marker() in ("None", None, ""):
            text.set(fontweight="bold", color="#333333")
            text.set_x(text.get_position()[0] - 24)


def _annotate(axes: Axes, runs: Sequence[Result], group: Group, colours: dict[str, str]) -> None:
    """Write beside each mark what tells it from the others of its kind, as far as there is room; the front comes
    first."""
    several = len({run.point.shown for run in runs}) > 1
    # Where all warm starts share a threshold, only the baseline's runs have thresholds to tell apart.
    warm = len({(run.point.shown, run.point.unmask) for run in runs if not run.is_baseline}) > 1
    labels = []
    named = [r for r in runs if len(runs) <= CROWD or r.on_front or (r.x, r.accuracy) in group.baseline_front]
    for run in sorted(named, key=lambda r: (not r.on_front, not r.is_baseline, r.x)):
        point = run.point
        kin = {other.point.parameters for other in runs if other.point.method == point.method}
        parts = ["oracle"] if point.oracle else []
        parts += [point.parameters] if len(kin) > 1 else []
        parts += [f"{len(point.seeds)} seeds"] if point.seeds else []
        if several and (warm or run.is_baseline):
            parts.append(point.shown)
        if parts:
            labels.append(
                Label(run.x, 100 * run.accuracy, " ".join(parts), GREY if point.oracle else colours[point.proposer])
            )
    bars = [((r.x_ci95[0], 100 * r.accuracy), (r.x_ci95[1], 100 * r.accuracy)) for r in runs]
    bars += [((r.x, 100 * r.point.accuracy_ci95[0]), (r.x, 100 * r.point.accuracy_ci95[1])) for r in runs]
    bars += [((x, 100 * y), (x2, 100 * y2)) for (x, y), (x2, y2) in pairwise(group.baseline_front)]
    place(axes, labels, [(r.x, 100 * r.accuracy) for r in runs], bars)
