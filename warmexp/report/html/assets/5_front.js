// The first view: the plane, and under it the table of runs; both show what the filter leaves.

function frontView(main) {
  const plot = h("div", { class: "plot front", id: "front-plot" });
  const below = h("div", {}), quality = h("div", { id: "quality" }), numbers = h("div", {}, areas());
  const draw = () => shownFigure(new Set(shownRuns().map((run) => run.run_id)));
  const axes = h("div", {});
  const redraw = () => {
    axes.replaceChildren(segmented("x axis", core.axes.map((one) => [one.key, AXIS_NAMES[one.key] || one.key]), axis().key, (key) => {
      state.axis = key;
      remember();
      redraw();
      fillTable(below, update);
      numbers.replaceChildren(areas());
      forgetSome([...quality.querySelectorAll(".plot")]);
      fillQuality(quality);
      update();
    }));
  };
  let update = () => {};
  const near = h("input", { type: "checkbox", id: "near", checked: state.near, onchange: (event) => { state.near = event.target.checked; update(); } });
  const bars = h("input", { type: "checkbox", id: "intervals", checked: state.intervals, onchange: (event) => { state.intervals = event.target.checked; update(); } });
  redraw();
  put(main, h("h1", {}, core.title), summary(), core.caveats.map((text) => h("p", { class: "notice" }, text)), checklist(),
    h("div", { class: "controls" }, axes, h("label", {}, bars, "95 % intervals"), h("label", {}, near, "only near the front")), plot, numbers, below, quality, leftOut());
  update = chart(plot, draw, (element) => element.on("plotly_click", (event) => {
    const id = event.points[0]?.customdata;
    if (id) location.hash = href("run", id);
  }));
  fillTable(below, () => update());
  fillQuality(quality);
}

// Hypervolume and AUP of every group of comparable runs, the baseline's own beside them.
function areas() {
  const text = (group) => {
    const parts = [`hypervolume ${fixed(group.hypervolume, 3)} ${interval(group.hypervolume_ci95, 3)}${known(group.baseline_hypervolume) ? ` (baseline ${fixed(group.baseline_hypervolume, 3)} ${interval(group.baseline_hypervolume_ci95, 3)})` : ""} up to (${fixed(group.reference_x, axis().digits)}, 0)`];
    const methods = group.curves.filter((curve) => curve.runs.length > 1 && known(curve.aup)).map((curve) => `${curve.label} ${fixed(curve.aup, 1)} ${interval(curve.aup_ci95, 1)}`);
    if (methods.length && methods.length <= 8) parts.push(`AUP by method: ${methods.join(", ")}`);
    return (axis().groups.length > 1 ? `${group.task}, ${group.n} questions: ` : "") + parts.join("; ");
  };
  return h("div", {}, axis().groups.map((group) => h("p", { class: "hint" }, text(group))),
    h("p", { class: "hint" }, narrow() ? "A tap on a mark tells its numbers, the table below leads to its page." : "Hover for what differs; a click leads to the run's page; drag to zoom, double click to zoom out."));
}

const AXIS_NAMES = { nfe: "NFE", full_forward_equivalents: "full forwards", token_forwards: "token-forwards", seconds: "seconds" };

function summary() {
  const sets = core.sets.map((set) => `${set.n} questions of ${set.task}`);
  const warm = core.runs.filter((run) => onAxis(run)?.on_front && !onAxis(run)?.is_baseline).length;
  const words = [`${core.runs.length} run${core.runs.length === 1 ? "" : "s"}`, sets.length > 3 ? `${sets.length} sets of questions` : sets.join("; "), `${core.accuracy} match`, `baseline: ${core.selector}`];
  return h("p", { class: "hint" }, words.join(" · "));
}

// What a reader has to know to judge the numbers, in a form that can be printed.
function checklist() {
  if (!core.checklist.length) return null;
  return h("details", { class: "hint", id: "checklist" }, h("summary", {}, "Checklist: split, questions, seeds, baseline, how many were compared, circumstances"),
    h("table", {}, h("tbody", {}, core.checklist.map((one) => h("tr", {}, h("th", { scope: "row" }, one.item), h("td", {}, one.said))))));
}

function leftOut() {
  if (!core.left_out.length) return null;
  return h("details", { class: "hint" }, h("summary", {}, `${core.left_out.length} folder${core.left_out.length === 1 ? "" : "s"} left out`), core.left_out.map((text) => h("p", {}, text)));
}

// The figure made in Python, without the runs that are filtered away, in this theme's ink and for this width.
function shownFigure(kept) {
  const { data, layout } = axis().figure;
  const ink = colour("--ink"), small = kept.size > 60 || narrow() ? 7 : 9;
  const traces = data.map((trace) => {
    if (trace.meta === "baseline") return { ...trace, line: { ...trace.line, color: ink }, marker: { ...trace.marker, color: ink } };
    if (!trace.customdata) return trace;
    const places = trace.customdata.map((id, i) => (kept.has(id) ? i : -1)).filter((i) => i >= 0);
    const pick = (list) => places.map((i) => list[i]);
    const bars = (error) => ({ ...error, color: `${themed(trace.marker.color)}61`, visible: state.intervals, array: pick(error.array), arrayminus: pick(error.arrayminus) });
    return { ...trace, x: pick(trace.x), y: pick(trace.y), hovertext: pick(trace.hovertext), customdata: pick(trace.customdata),
      marker: { ...trace.marker, color: themed(trace.marker.color), size: small }, error_x: bars(trace.error_x), error_y: bars(trace.error_y), showlegend: places.length > 0 };
  });
  const legend = narrow()
    ? { orientation: "h", x: 0, y: -0.2, yanchor: "top", ...layout.legend, font: { size: 11 } }
    : { ...layout.legend, x: 1.01, y: 1, font: { size: 11.5 } };
  const rows = traces.filter((trace) => trace.showlegend !== false).length;
  const height = narrow() ? { height: 360 + 21 * rows } : {};
  const yaxis = state.near ? { ...layout.yaxis, range: nearRange(kept) } : layout.yaxis;
  return { data: traces, layout: { ...layout, ...height, yaxis, legend, dragmode: narrow() ? false : "zoom", margin: { ...layout.margin, r: 10, l: narrow() ? 45 : 60 } } };
}

// Accuracies of the fronts, and a little room.
function nearRange(kept) {
  const corners = axis().groups.flatMap((group) => [...group.front, ...group.baseline_front]).map(([, accuracy]) => 100 * accuracy);
  const tops = core.runs.filter((run) => kept.has(run.run_id)).map((run) => 100 * run.accuracy_ci95[1]);
  const low = Math.min(...corners), high = Math.max(...corners, ...tops);
  return [Math.max(0, low - 0.35 * (high - low) - 1), Math.min(100.5, high + 0.5)];
}
