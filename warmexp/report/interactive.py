"""The front as a Plotly figure: what the report shows and W&B keeps. Plotly is imported here only.

Colour says which proposer, the symbol which init, filled or hollow whether tokens were revised, a dot whether a
question ends before its canvas is full, as in the printed figure; runs that differ in their threshold alone are joined
by a thin line, whose dashes say which unmasking policy. Points carry their run id as custom data; `meta` of a trace
says what it is (runs, oracle, seeds, curve, baseline or front), so that a page can restyle and filter.
"""

from __future__ import annotations

from html import escape
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from warmexp.analysis.axes import AXES
from warmexp.analysis.methods import FAMILIES
from warmexp.analysis.points import COLD_START, DEFAULT_UNMASK
from warmexp.palette import GREY, INK, by_proposer
from warmexp.report.marks import dashes, ends_early, shapes

VEIL = "rgba(140,140,140,0.28)"  # on light and on dark ground
_WIDE = 12  # largest over smallest x from which on the axis is logarithmic


def plotly_script() -> str:
    """Plotly's own JavaScript, to be put into a page."""
    return get_plotlyjs()


def front_figure(front_json: dict[str, Any], group: int | None = None) -> go.Figure:
    """The figure of a front.json (format 2): runs with both intervals, the baseline's front as a line, oracle runs
    apart.

    Hovering tells a run's numbers and where its settings differ from the baseline run it is paired with.

    Args:
        group: draw this group of comparable runs alone, in the colours and shapes that they have among all; None: all.
    """
    figure = go.Figure()
    everyone = front_json["runs"]
    runs = [run for run in everyone if group in (None, run["group"])]
    colours, symbols = _colours(everyone), shapes(run["method"] for run in everyone)
    policies = dashes((run["unmask"] for run in everyone), DEFAULT_UNMASK)
    several = len({run["unmask"] for run in runs}) > 1
    by_family = len({run.get("family") for run in runs} & set(FAMILIES[1:-1])) > 1
    for number, one in enumerate(front_json["groups"]):
        if group in (None, number):
            _line(figure, one["front"], "not dominated", "front", {"color": VEIL, "width": 6, "shape": "hv"})
            _line(figure, one["baseline_front"], "baseline's own front", "baseline", {"color": INK, "width": 1.6})
            _curves(figure, one["curves"], runs, colours, policies)
    kinds: dict[tuple, list[dict[str, Any]]] = {}
    for run in runs:
        kind = run["oracle"], run["proposer"], run["method"], run["remask"] != "none", ends_early(run["settings"])
        kind += (run["family"] if by_family else "",)
        kinds.setdefault((*kind, run["unmask"] if several else ""), []).append(run)
    settings = {run["run_id"]: run["settings"] for run in runs}
    for (oracle, proposer, method, revises, early, family, policy), members in _by_family(kinds):
        colour = GREY if oracle else colours[proposer]
        texts = [_hover(run, front_json, settings) for run in members]
        symbol = symbols[method] + ("-open" if revises else "") + ("-dot" if early else "")
        _seeds(figure, members, front_json["x"], colour)
        trace = _runs(members, texts, _name(members[0], policy), colour, symbol, oracle)
        figure.add_trace(trace.update(_of_family(family)))
    tasks = {one["task"] for number, one in enumerate(front_json["groups"]) if group in (None, number)}
    outside = [one for one in front_json.get("outside", []) if one["task"] in tasks]
    if outside:
        figure.add_trace(_outside(outside, AXES[front_json["x"]]))
    figure.update_layout(**_layout(front_json, runs))
    return figure


def _by_family(kinds: dict[tuple, list[dict[str, Any]]]) -> list[tuple[tuple, list[dict[str, Any]]]]:
    """In the order of the families, where these are told apart."""
    return sorted(kinds.items(), key=lambda kind: FAMILIES.index(kind[0][-2]) if kind[0][-2] else 0)


def _of_family(family: str) -> dict[str, Any]:
    """What puts a legend's entry under its family's title."""
    return {"legendgroup": family, "legendgrouptitle": {"text": family}} if family else {}


def _curves(
    figure: go.Figure, curves: list, runs: list[dict[str, Any]], colours: dict[str, str], policies: dict[str, str]
) -> None:
    """A thin line through the runs of each method that differ in their threshold alone, but for the baseline's own."""
    there = {run["run_id"]: run for run in runs}
    for curve in curves:
        members = [there[name] for name in curve["runs"] if name in there]
        if len(members) > 1:
            colour, dash = colours[members[0]["proposer"]], policies[members[0]["unmask"]]
            figure.add_trace(
                go.Scatter(
                    x=[run["x"] for run in members],
                    y=[100 * run["accuracy"] for run in members],
                    ids=[run["run_id"] for run in members],
                    name=escape(curve["label"], quote=False),
                    mode="lines",
                    line={"color": colour, "width": 1, "dash": dash},
                    opacity=0.5,
                    showlegend=False,
                    hoverinfo="skip",
                    meta="curve",
                )
            )


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


def _seeds(figure: go.Figure, members: list[dict[str, Any]], x: str, colour: str) -> None:
    """A small dot for each of the seeds that a run is the mean of."""
    dots = [(run["run_id"], one) for run in members for one in (run.get("seeds") or {}).get("each", ())]
    if dots:
        figure.add_trace(
            go.Scatter(
                x=[one["x"][x] for _, one in dots],
                y=[100 * one["accuracy"] for _, one in dots],
                ids=[name for name, _ in dots],
                hovertext=[f"seed {one['seed']}" for _, one in dots],
                hoverinfo="text",
                mode="markers",
                marker={"symbol": "circle", "size": 5, "color": colour},
                opacity=0.8,
                showlegend=False,
                meta="seeds",
            )
        )


def _runs(
    members: list[dict[str, Any]], texts: list[str], name: str, colour: str, symbol: str, oracle: bool
) -> go.Scatter:
    x, y = [run["x"] for run in members], [100 * run["accuracy"] for run in members]
    return go.Scatter(
        x=x,
        y=y,
        error_x=_bars(x, [run["x_ci95"] for run in members], 1, colour),
        error_y=_bars(y, [run["accuracy_ci95"] for run in members], 100, colour),
        mode="markers",
        name=name,
        marker={"symbol": symbol, "size": 9, "color": colour, "line": _edge(symbol)},
        hovertext=texts,
        hoverinfo="text",
        customdata=[run["run_id"] for run in members],
        meta="oracle" if oracle else "runs",
    )


def _edge(symbol: str) -> dict[str, Any]:
    """A hollow mark is its edge; a filled one with a dot has the dot in the edge's colour."""
    if "-open" in symbol:
        return {"width": 2}
    return {"width": 1.5, "color": "white"} if "-dot" in symbol else {"width": 0}


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


def _name(run: dict[str, Any], policy: str) -> str:
    """Of a legend entry: what the members share. policy: of unmasking, where there are several."""
    method = run["method"] if run["remask"] == "none" else f"{run['method']} + remask"
    source = "oracle" if run["oracle"] else run["proposer"]
    cold = "cold start" if run["method"] == COLD_START else ""
    length = str(run["settings"]["choices.length"]) if ends_early(run["settings"]) else ""
    words = (method, cold if source == "none" else source, policy, length)
    return escape(", ".join(filter(None, words)), quote=False)


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
    if seeds := run.get("seeds"):
        spread = f"{seeds['x_sd'][front['x']]:.{axis.digits}f} {axis.unit}, {100 * seeds['accuracy_sd']:.1f} points"
        lines.append(f"mean of seeds {', '.join(map(str, seeds['values']))}; standard deviation {spread}")
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


def _layout(front: dict[str, Any], runs: list[dict[str, Any]]) -> dict[str, Any]:
    values = [run["x"] for run in runs]
    wide = bool(values) and min(values) > 0 and max(values) > _WIDE * min(values)
    x_axis = {
        "title": {"text": front["x_label"] + (" (log scale)" if wide else "")},
        "type": "log" if wide else "linear",
    }
    if wide:
        x_axis |= {"dtick": "D2", "tickformat": ",~r"}  # 1, 2, 5, 10, 20, …; without a format 20 is shown as a small 2
    notes = [escape(caveat, quote=False) for caveat in front["caveats"] if caveat.startswith("Pooled")]
    return {
        "template": "none",
        "xaxis": x_axis | {"zeroline": False},
        "yaxis": {"title": {"text": f"accuracy, {front['accuracy']} match (%)"}, "zeroline": False},
        "hovermode": "closest",
        "legend": {"itemsizing": "constant", "groupclick": "toggleitem"},
        "margin": {"l": 60, "r": 20, "t": 20 + 18 * len(notes), "b": 55},
        "annotations": [_note(text, row) for row, text in enumerate(notes)],
    }


def _note(text: str, row: int) -> dict[str, Any]:
    place = {"xref": "paper", "yref": "paper", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"}
    return {"text": text, "showarrow": False, "yshift": 18 * row, **place}
