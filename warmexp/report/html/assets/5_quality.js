// Accuracy and cost over the quality of the prior: the oracle's curves, the cold start's lines, and real proposers at their own accuracy.

// Fill the box with both pictures, or with nothing where no study varied the corruption.
function fillQuality(box) {
  const curves = axis().quality.filter((curve) => curve.group === state.group);
  if (!curves.length) return box.replaceChildren();
  const plots = [h("div", { class: "plot small" }), h("div", { class: "plot small" })];
  const bar = segmented("Quality of the prior by", [["rate", "corruption rate"], ["proposal_accuracy", "proposals that are right"]], state.quality, (key) => {
    state.quality = key;
    forgetSome(plots);
    fillQuality(box);
  });
  const hint = "Runs from a corrupted reference solution; dashed, the cold start they are paired with" + (state.quality === "rate" ? "." : "; ✕, the same methods with real proposers.");
  box.replaceChildren(h("h2", {}, "Over the quality of the prior"), h("div", { class: "controls" }, bar),
    h("div", { class: "columns" }, h("section", {}, h("h3", {}, `Accuracy, ${core.accuracy} match`), plots[0]), h("section", {}, h("h3", {}, axis().label), plots[1])), h("p", { class: "hint" }, hint));
  plots.forEach((plot, i) => chart(plot, () => qualityFigure(curves, i === 0)));
}

function qualityFigure(curves, accuracy) {
  const rate = state.quality === "rate", digits = accuracy ? 1 : axis().digits, unit = accuracy ? " %" : ` ${axis().unit}`;
  const across = (run) => (rate ? run.rate : known(run.proposal_accuracy) ? 100 * run.proposal_accuracy : null);
  const value = (run) => (accuracy ? 100 * run.accuracy : run.x), limits = (run) => (accuracy ? run.accuracy_ci95.map((v) => 100 * v) : run.x_ci95);
  const marks = (runs, name, tint, more) => ({
    name, x: runs.map(across), y: runs.map(value), customdata: runs.map((run) => [run.proposer, interval(limits(run), digits), runById(run.run)?.label]),
    error_y: { type: "data", symmetric: false, width: 0, thickness: 1, color: themed(tint), array: runs.map((run) => limits(run)[1] - value(run)), arrayminus: runs.map((run) => value(run) - limits(run)[0]) },
    hovertemplate: `%{x:.3g}: %{y:.${digits}f}${unit} %{customdata[1]}<extra>%{customdata[2]}</extra>`, ...more,
  });
  const traces = curves.map((curve, i) => {
    const tint = PALETTE[i % PALETTE.length], symbol = core.shapes[runById(curve.oracles[0].run)?.method] || "circle";
    const there = curve.oracles.filter((run) => known(across(run)));
    return marks(there, curve.label, tint, { mode: "lines+markers", line: { color: themed(tint), width: 1.4 }, marker: { color: themed(tint), symbol, size: 7 } });
  });
  const once = (runs) => [...new Map(runs.filter(Boolean).map((run) => [run.run, run])).values()];
  const colds = once(curves.map((curve) => curve.cold)), real = once(curves.flatMap((curve) => curve.proposers));
  if (!rate && real.length) traces.push(marks(real, "real proposers", INK, { mode: "markers", marker: { color: themed(INK), symbol: "x", size: 9 } }));
  const annotations = colds.map((run) => ({ xref: "paper", x: 1, y: value(run), text: runById(run.run)?.label || "", showarrow: false, xanchor: "right", yanchor: "bottom", font: { size: 10.5, color: colour("--soft") } }));
  const shapes = colds.map((run) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: value(run), y1: value(run), line: { color: colour("--ink"), width: 1.2, dash: "dash" } }));
  return {
    data: traces,
    layout: {
      shapes, annotations, showlegend: true, margin: { l: 50, r: 10, t: 34, b: 45 }, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      xaxis: { title: { text: rate ? "corruption rate" : "proposals that are right (%)" } }, yaxis: { title: { text: accuracy ? "accuracy (%)" : axis().unit } },
    },
  };
}
