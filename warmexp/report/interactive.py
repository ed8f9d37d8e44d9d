"""The front as a Plotly figure: what the report shows and W&B keeps. Plotly is imported here only.

Colour says which proposer, the symbol which init, filled or hollow whether tokens were revised, as in the printed
figure. Points carry their run id as custom data; `meta` of a trace says what it is (runs, oracle, baseline or front),
so that a page can restyle and filter.
"""

from __future__ import annotations

from html import escape
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from warmexp.analysis.axes import AXES
from warmexp.analysis.points import COLD_START
from warmexp.palette import GREY, INK, by_proposer

VEIL = "rgba(140,140,140,0.28)"  # on light and on dark ground
SYMBOLS = {"mask": "circle", "token_inject": "square", "embed_interp": "triangle-up"}
_OTHER_SYMBOLS = ("diamond", "triangle-down", "cross", "pentagon", "star", "hexagon")
_WIDE = 12  # largest over smallest x from which on the axis is logarithmic


def plotly_script() -> str:
    """Plotly's own JavaScript, to be put into a page."""
    return get_plotlyjs()


def front_figure(front_json: dict[str, Any]) -> go.Figure:
    """The figure of a front.json (format 2): runs with both intervals, the baseline's front as a line, oracle runs
    apart.

    Hovering tells a run's numbers and where its settings differ from the baseline run it is paired with.
    """
    figure = go.Figure()
    runs = front_json["runs"]
    for group in front_json["groups"]:
        _line(figure, group["front"], "not dominated", "front", {"color": VEIL, "width": 6, "shape": "hv"})
        _line(figure, group["baseline_front"], "baseline's own front", "baseline", {"color": INK, "width": 1.6})
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["oracle"], run["proposer"], run["method"], run["remask"] != "none"), []).append(run)
    colours, symbols = _colours(runs), _symbols(runs)
    settings = {run["run_id"]: run["settings"] for run in runs}
    for (oracle, proposer, method, revises), members in groups.items():
        colour = GREY if oracle else colours[proposer]
        texts = [_hover(run, front_json, settings) for run in members]
        figure.add_trace(_runs(members, texts, _name(members[0]), colour, symbols[method], revises, oracle))
    outside = front_json.get("outside", [])
    if outside:
        figure.add_trace(_outside(outside, AXES[front_json["x"]]))
    figure.update_layout(**_layout(front_json))
    return figure


def _outside(points: list[dict[str, Any]], axis: Any) -> go.Scatter:
    """Points from elsewhere: no intervals, and nothing to click on."""
    texts = [
        f"<b>{escape(one['label'], quote=False)}</b><br>{one['x']:.{axis.digits}f} {axis.unit}"
        f"<br>{100 * one['accuracy']:.1f} %<br>{escape(one['source'], quote=False)}"
        for one in points
    ]
    return go.Scatter(
        x=[one["x"] for one in points],
        y=[100 * one["accuracy"] for one in points],
        mode="markers",
        name="published elsewhere",
        marker={"symbol": "star-open", "size": 10, "color": GREY},
        hovertext=texts,
        hoverinfo="text",
        meta="outside",
    )


def _line(figure: go.Figure, corners: list, name: str, role: str, line: dict[str, Any]) -> None:
    if corners:
        shown = not any(trace.name == name for trace in figure.data)
        x, y = [x for x, _ in corners], [100 * accuracy for _, accuracy in corners]
        mode = "lines" if len(corners) > 1 else "markers"
        marker = {"symbol": "line-ew-open", "size": 14, "color": line["color"]}
        figure.add_trace(
            go.Scatter(
                x=x,
                y=y,
                name=name,
                legendgroup=role,
                showlegend=shown,
                mode=mode,
                line=line,
                marker=marker,
                hoverinfo="skip",
                meta=role,
            )
        )


def _runs(
    members: list[dict[str, Any]], texts: list[str], name: str, colour: str, symbol: str, revises: bool, oracle: bool
) -> go.Scatter:
    x, y = [run["x"] for run in members], [100 * run["accuracy"] for run in members]
    return go.Scatter(
        x=x,
        y=y,
        error_x=_bars(x, [run["x_ci95"] for run in members], 1, colour),
        error_y=_bars(y, [run["accuracy_ci95"] for run in members], 100, colour),
        mode="markers",
        name=name,
        marker={
            "symbol": symbol + ("-open" if revises else ""),
            "size": 9,
            "color": colour,
            "line": {"width": 2 if revises else 0},
        },
        hovertext=texts,
        hoverinfo="text",
        customdata=[run["run_id"] for run in members],
        meta="oracle" if oracle else "runs",
    )


def _bars(middle: list[float], intervals: list, scale: float, colour: str) -> dict[str, Any]:
    """Both whiskers as distances from the middle, faint enough to lie under two hundred marks."""
    ends = [
        (scale * low, scale * high) if None not in (low, high) else (m, m)
        for m, (low, high) in zip(middle, intervals, strict=True)
    ]
    above = [max(high - m, 0) for m, (_, high) in zip(middle, ends, strict=True)]
    below = [max(m - low, 0) for m, (low, _) in zip(middle, ends, strict=True)]
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    faint = f"rgba({red},{green},{blue},0.38)"
    return {
        "type": "data",
        "array": above,
        "arrayminus": below,
        "symmetric": False,
        "color": faint,
        "thickness": 1.2,
        "width": 0,
    }


def _name(run: dict[str, Any]) -> str:
    """Of a legend entry: what the members share."""
    method = run["method"] if run["remask"] == "none" else f"{run['method']} + remask"
    source = "oracle" if run["oracle"] else run["proposer"]
    cold = "cold start" if run["method"] == COLD_START else ""
    return escape(", ".join(filter(None, (method, cold if source == "none" else source))), quote=False)


def _hover(run: dict[str, Any], front: dict[str, Any], settings: dict[str, dict[str, Any]]) -> str:
    """Lines of Plotly's little markup; what comes from a run is escaped."""
    axis = AXES[front["x"]]
    low, high = run["x_ci95"]
    bottom, top = run["accuracy_ci95"]
    lines = [
        f"<b>{escape(run['label'], quote=False)}</b>",
        f"{run['x']:.{axis.digits}f} {axis.unit} [{low:.{axis.digits}f}, {high:.{axis.digits}f}]",
        f"{100 * run['accuracy']:.1f} % {front['accuracy']} [{100 * bottom:.1f}, {100 * top:.1f}], n = {run['n']}",
    ]
    saved, paired = run["saved"], run["paired"]
    if run["oracle"]:
        lines.append("oracle: has seen the answer, never on a front")
    elif saved:
        bound = {"at_least": "at least ", "at_most": "at most "}.get(saved["bound"], "")
        share = "" if saved["saved_share"] is None else f" ({100 * saved['saved_share']:.0f} %)"
        lines.append(f"saves {bound}{saved['saved']:.{axis.digits}f}{share} at equal accuracy")
    other = settings.get(paired["baseline"], {}) if paired else {}
    differing = [key for key in front["varying"] if not paired or str(run["settings"].get(key)) != str(other.get(key))]
    shown = [f"{key} = {run['settings'][key]}" for key in differing if key in run["settings"]]
    lines += [escape(line, quote=False) for line in shown[:10]] + (["…"] if len(shown) > 10 else [])
    return "<br>".join(lines)


def _colours(runs: list[dict[str, Any]]) -> dict[str, str]:
    return by_proposer({run["proposer"] for run in runs if not run["oracle"]})


def _symbols(runs: list[dict[str, Any]]) -> dict[str, str]:
    others = sorted({run["method"] for run in runs} - set(SYMBOLS))
    return SYMBOLS | {name: _OTHER_SYMBOLS[index % len(_OTHER_SYMBOLS)] for index, name in enumerate(others)}


def _layout(front: dict[str, Any]) -> dict[str, Any]:
    values = [run["x"] for run in front["runs"]]
    wide = bool(values) and min(values) > 0 and max(values) > _WIDE * min(values)
    x_axis = {
        "title": {"text": front["x_label"] + (" (log scale)" if wide else "")},
        "type": "log" if wide else "linear",
    }
    if wide:
        x_axis |= {"dtick": "D2"}  # 1, 2, 5, 10, …
    notes = [escape(caveat, quote=False) for caveat in front["caveats"] if caveat.startswith("Pooled")]
    return {
        "template": "none",
        "xaxis": x_axis | {"zeroline": False},
        "yaxis": {"title": {"text": f"accuracy, {front['accuracy']} match (%)"}, "zeroline": False},
        "hovermode": "closest",
        "legend": {"itemsizing": "constant"},
        "margin": {"l": 60, "r": 20, "t": 20 + 18 * len(notes), "b": 55},
        "annotations": [_note(text, row) for row, text in enumerate(notes)],
    }


def _note(text: str, row: int) -> dict[str, Any]:
    place = {"xref": "paper", "yref": "paper", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"}
    return {"text": text, "showarrow": False, "yshift": 18 * row, **place}
