// The first view: the plane, and under it the table of runs; both show what the filter leaves of the chosen questions' runs.

function frontView(main, unknown) {
  const plot = h("div", { class: "plot front", id: "front-plot" });
  const below = h("div", {}), quality = h("div", { id: "quality" }), numbers = h("div", {}), notices = h("div", { id: "caveats" }), controls = h("div", { class: "controls" });
  let update = () => {};
  const near = h("input", { type: "checkbox", id: "near", checked: state.near, onchange: (event) => { state.near = event.target.checked; remember(); update(); } });
  const bars = h("input", { type: "checkbox", id: "intervals", checked: state.intervals, onchange: (event) => { state.intervals = event.target.checked; remember(); update(); } });
  const toAxis = (key) => {
    state.filter = boundFilter(); // what was said of one axis stays said of it
    if (state.sort?.name === costName(axis())) state.sort.name = costName(core.axes.find((one) => one.key === key));
    state.axis = key;
    fill();
  };
  const toGroup = (place) => {
    state.group = Number(place);
    state.facets = {};
    fill();
  };
  const fill = () => {
    controls.replaceChildren(...[groupPicker(toGroup), segmented("x axis", core.axes.map((one) => [one.key, AXIS_NAMES[one.key] || one.key]), axis().key, toAxis),
      h("label", {}, bars, "95 % intervals"), h("label", {}, near, "only near the front")].filter(Boolean));
    notices.replaceChildren(...[...core.caveats, ...core.groups[state.group].caveats].map(notice));
    numbers.replaceChildren(...[areas(), methodsTable()].filter(Boolean));
    fillTable(below, () => update());
    forgetSome([...quality.querySelectorAll(".plot")]);
    fillQuality(quality);
    remember();
    update();
  };
  put(main, h("h1", {}, core.title), unknown, summary(), notices, checklist(), controls, plot,
    saveButtons([["PNG", "the picture as it is shown", () => savePicture(plot, `${fileName()}.png`)], ["CSV", "the runs that are shown, with every column", () => save(`${fileName()}.csv`, shownTable(), "text/csv")]]),
    numbers, below, quality, leftOut());
  fill();
  update = chart(plot, () => shownFigure(new Set(shownRuns().map((run) => run.run_id))), (element) => element.on("plotly_click", (event) => {
    const id = event.points[0]?.customdata;
    if (id) location.hash = href("run", id);
  }));
}

const AXIS_NAMES = { nfe: "NFE", rows: "rows", full_forward_equivalents: "full forwards", token_forwards: "token-forwards", guide_forwards: "guide forwards", all_forwards: "forwards and guide's", all_token_forwards: "token-forwards and guide's", seconds: "seconds" };
const costName = (ax) => AXIS_NAMES[ax.key] || ax.key;
const fileName = () => ["front", axis().key, core.groups.length > 1 ? core.groups[state.group].name : ""].join(" ").trim().replace(/[^\w]+/g, "-");

// Runs on other questions, another task or backbone are another picture.
function groupPicker(choose) {
  if (core.groups.length < 2) return null;
  const count = (place) => core.runs.filter((run) => run.group === place).length;
  return picker("questions", core.groups.map((one, place) => [String(place), `${one.name} · ${count(place)} run${count(place) === 1 ? "" : "s"}`]), String(state.group), choose);
}

// A sentence; a command in it can be copied.
function notice(text) {
  const [, before, command] = /^(.*?)(python -m warmexp .*)$/.exec(text) || [null, text, null];
  return h("p", { class: "notice" }, before, command ? h("code", { class: "command" }, command) : null);
}

// Hypervolume and AUP of the runs on the chosen questions, the baseline's own beside them.
function areas() {
  const one = group(), parts = [];
  if (one) {
    parts.push([term("hypervolume"), ` ${fixed(one.hypervolume, 3)} ${interval(one.hypervolume_ci95, 3)}${known(one.baseline_hypervolume) ? ` (baseline ${fixed(one.baseline_hypervolume, 3)} ${interval(one.baseline_hypervolume_ci95, 3)})` : ""} up to (${fixed(one.reference_x, axis().digits)}, 0)`]);
    const methods = one.curves.filter((curve) => curve.runs.length > 1 && known(curve.aup)).map((curve) => `${curve.label} ${fixed(curve.aup, 1)} ${interval(curve.aup_ci95, 1)}`);
    if (methods.length && methods.length <= 8) parts.push(["; ", term("AUP"), ` by method: ${methods.join(", ")}`]);
  } else parts.push(`No record of these runs says anything about ${axis().label}.`);
  return h("div", {}, h("p", { class: "hint" }, parts),
    h("p", { class: "hint" }, narrow() ? "A tap on a mark tells its numbers, the table below leads to its page." : "Hover for what differs; a click leads to the run's page; drag to zoom, double click to zoom out."));
}

function summary() {
  const sets = core.groups.map((one) => one.name), runs = `${core.runs.length} run${core.runs.length === 1 ? "" : "s"}`;
  const words = [runs, sets.length > 2 ? `${sets.length} sets of questions` : sets.join("; "), `${core.accuracy} match`];
  return h("p", { class: "hint" }, words.join(" · "), " · ", term("baseline"), `: ${core.selector}`);
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
  const { data, layout } = axis().figures[state.group] || { data: [], layout: {} };
  const ink = colour("--ink"), small = kept.size > 60 || narrow() ? 7 : 9;
  const traces = data.map((trace) => {
    if (trace.meta === "baseline") return { ...trace, line: { ...trace.line, color: ink }, marker: { ...trace.marker, color: ink } };
    const names = trace.customdata || trace.ids;
    if (!names) return trace;
    const places = names.map((id, i) => (kept.has(id) ? i : -1)).filter((i) => i >= 0);
    const pick = (list) => places.map((i) => list[i]);
    if (trace.meta === "seeds") return { ...trace, x: pick(trace.x), y: pick(trace.y), ids: pick(trace.ids), hovertext: pick(trace.hovertext), marker: { ...trace.marker, color: themed(trace.marker.color) } };
    if (trace.meta === "curve") return { ...trace, x: pick(trace.x), y: pick(trace.y), ids: pick(trace.ids), line: { ...trace.line, color: themed(trace.line.color) } };
    const bars = (error) => ({ ...error, color: `${themed(trace.marker.color)}61`, visible: state.intervals, array: pick(error.array), arrayminus: pick(error.arrayminus) });
    const edge = trace.marker.line.color ? { ...trace.marker.line, color: colour("--bg") } : trace.marker.line;
    return { ...trace, x: pick(trace.x), y: pick(trace.y), hovertext: pick(trace.hovertext), customdata: pick(trace.customdata),
      marker: { ...trace.marker, color: themed(trace.marker.color), size: small, line: edge }, error_x: bars(trace.error_x), error_y: bars(trace.error_y), showlegend: places.length > 0 };
  });
  const legend = narrow()
    ? { orientation: "h", x: 0, y: -0.2, yanchor: "top", ...layout.legend, font: { size: 11 } }
    : { ...layout.legend, x: 1.01, y: 1, font: { size: 11.5 } };
  const rows = traces.filter((trace) => trace.showlegend !== false).length;
  const height = narrow() ? { height: 360 + 21 * rows } : {};
  const log = layout.xaxis?.type === "log", ranges = state.near ? nearRanges(kept, log) : null;
  const xaxis = ranges ? { ...layout.xaxis, range: log ? ranges.x.map(Math.log10) : ranges.x } : layout.xaxis;
  const yaxis = ranges ? { ...layout.yaxis, range: ranges.y } : layout.yaxis;
  return { data: traces, layout: { ...layout, ...height, xaxis, yaxis, legend, dragmode: narrow() ? false : "zoom", margin: { ...layout.margin, r: 10, l: narrow() ? 45 : 60 } } };
}

// Where the fronts lie along both axes, with the accuracy's intervals there and a little room.
function nearRanges(kept, log) {
  const corners = group() ? [...group().front, ...group().baseline_front] : [];
  if (!corners.length) return null;
  const costs = corners.map(([x]) => x), heights = corners.map(([, accuracy]) => 100 * accuracy);
  const tops = groupRuns().filter((run) => kept.has(run.run_id) && onAxis(run)?.on_front).map((run) => 100 * run.accuracy_ci95[1]);
  const [left, right] = [Math.min(...costs), Math.max(...costs)], [low, high] = [Math.min(...heights), Math.max(...heights, ...tops)];
  const wide = Math.max(right - left, 0.1 * right), factor = Math.max(right / left, 1.5) ** 0.06;
  return { x: log ? [left / factor, right * factor] : [left - 0.08 * wide, right + 0.08 * wide], y: [Math.max(0, low - 0.35 * (high - low) - 1), Math.min(100.5, high + 0.5)] };
}
