"""Accuracy and cost over the quality of the prior, as a picture for print: see quality.py."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from warmexp.analysis.result import AtQuality, Front
from warmexp.palette import GREY, INK, PALETTE
from warmexp.report.figure import DPI, STYLE, save
from warmexp.report.marks import markers

_RATE, _SHARE = "corruption rate of the oracle", "share of proposals that are right (%)"


def quality_picture(front: Front, path: Path | str) -> Path:
    """Write a PNG: accuracy above and cost below, over the rate of corruption on the left and the proposals' accuracy
    on the right.

    Dashed: the cold start's. Crosses: real proposers, which have no rate. The front must have a curve.
    """
    path = Path(path)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 6.6), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(2, 2, sharex="col", sharey="row")
        for row, label in enumerate((f"accuracy, {front.accuracy} match (%)", front.x_label)):
            panels[row, 0].set_ylabel(label)
            for column, across in enumerate((_RATE, _SHARE)):
                _panel(panels[row, column], front, across, accuracy=row == 0)
                panels[1, column].set_xlabel(across)
        figure.legend(
            *panels[1, 1].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=8.5
        )
        save(figure, path)
    return path


def _panel(axes: Axes, front: Front, across: str, accuracy: bool) -> None:
    axes.grid(color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)
    methods = {run.point.run_id: run.point.method for run in front.runs}
    shown = markers(methods.values())
    for i, curve in enumerate(front.prior_quality):
        there = [at for at in curve.oracles if _quality(at, across) is not None]
        x, y = [_quality(at, across) for at in there], [_value(at, accuracy) for at in there]
        colour, marker = PALETTE[i % len(PALETTE)], shown[methods[curve.oracles[0].run]]
        axes.plot(
            x,
            [value for value, _, _ in y],
            color=colour,
            marker=marker,
            markersize=4.5,
            linewidth=1.2,
            label=curve.label,
        )
        axes.fill_between(
            x, [low for _, low, _ in y], [high for _, _, high in y], color=colour, alpha=0.12, linewidth=0
        )
    small = {"fontsize": 7, "color": GREY, "textcoords": "offset points"}
    for at in {curve.cold.run: curve.cold for curve in front.prior_quality if curve.cold}.values():
        axes.axhline(_value(at, accuracy)[0], color=INK, linewidth=1.1, linestyle="--")
        label = next(run.point.label for run in front.runs if run.point.run_id == at.run)
        axes.annotate(
            label, (1, _value(at, accuracy)[0]), (-2, 2), xycoords=("axes fraction", "data"), ha="right", **small
        )
    for at in {at.run: at for curve in front.prior_quality for at in curve.proposers if across == _SHARE}.values():
        place = (_quality(at, across), _value(at, accuracy)[0])
        axes.plot(*place, color=INK, marker="X", markersize=7, markeredgecolor="white", zorder=5)
        axes.annotate(at.proposer, place, (4, -9), **small)


def _quality(at: AtQuality, across: str) -> float | None:
    if across == _RATE:
        return at.rate
    return None if at.proposal_accuracy is None else 100 * at.proposal_accuracy


def _value(at: AtQuality, accuracy: bool) -> tuple[float, float, float]:
    """With its interval; accuracies in percent."""
    value, (low, high) = (at.accuracy, at.accuracy_ci95) if accuracy else (at.x, at.x_ci95)
    scale = 100 if accuracy else 1
    return scale * value, scale * low, scale * high
