// Plotly, dressed like the page and redrawn when the theme changes.

const CHART = { displaylogo: false, displayModeBar: false };
let drawn = [];
const sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => {
  if (target.refit && target.isConnected && target.wide !== target.clientWidth) {
    if (target.wide !== undefined) target.refit();
    target.wide = target.clientWidth;
  } else if (target.data && target.offsetParent) Plotly.Plots.resize(target);
}));

function forgetCharts() {
  sizes.disconnect();
  for (const { element } of drawn) Plotly.purge(element);
  drawn = [];
}

function forgetSome(elements) {
  elements.forEach((element) => { sizes.unobserve(element); Plotly.purge(element); });
  drawn = drawn.filter(({ element }) => !elements.includes(element));
}

// Draw figure() once the page has laid the element out, and again whenever colours change; figure gives {data, layout}.
function chart(element, figure, then) {
  const draw = () => {
    const { data, layout } = figure();
    return Plotly.react(element, data, dressed(layout), CHART);
  };
  drawn.push({ element, draw });
  requestAnimationFrame(async () => {
    if (!element.isConnected) return;
    await draw();
    sizes.observe(element);
    if (then) then(element);
  });
  return draw;
}

const redrawCharts = () => drawn.forEach(({ draw }) => draw());

function dressed(layout) {
  const ink = colour("--ink"), soft = colour("--soft"), line = colour("--line");
  const lines = { gridcolor: line, linecolor: line, tickcolor: line, zerolinecolor: line, tickfont: { color: soft, size: 12 } };
  const axes = {};
  for (const name of Object.keys(layout).filter((key) => /^[xy]axis/.test(key)).concat("xaxis", "yaxis"))
    axes[name] = { automargin: true, ...lines, ...layout[name], title: { ...(layout[name]?.title || {}), font: { size: 12.5, color: soft }, standoff: 10 } };
  return {
    ...layout, ...axes, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true,
    font: { family: "system-ui, sans-serif", color: ink, size: 12 },
    hoverlabel: { bgcolor: colour("--panel"), bordercolor: line, font: { color: ink, size: 12.5, family: "system-ui, sans-serif" }, align: "left" },
  };
}

const narrow = () => innerWidth < 700;

// PALETTE, INK and ON_DARK are those of warmexp/palette.py, which the page is written with.
const themed = (tint) => (tint === INK ? colour("--ink") : (dark() && ON_DARK[tint]) || tint);

// Counts of whole numbers, a few runs beside each other.
function histogram(series, label) {
  const values = series.flatMap((one) => one.values);
  const low = Math.min(...values), high = Math.max(...values), size = Math.max(1, Math.ceil((high - low + 1) / 40));
  const bins = { start: low - 0.5, end: high + size - 0.5, size };
  return {
    data: series.map(({ name, values: x, colour: c }) => ({
      type: "histogram", x, xbins: bins, autobinx: false, name, opacity: series.length > 1 ? 0.62 : 0.9, marker: { color: colour(c) }, hovertemplate: "%{x}: %{y}<extra></extra>",
    })),
    layout: {
      barmode: "overlay", bargap: 0.06, showlegend: series.length > 1, margin: { l: 50, r: 10, t: 34, b: 45 }, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      xaxis: { title: { text: label } }, yaxis: { title: { text: "questions" } },
    },
  };
}

// The share of questions whose visible text holds the right answer after each forward; the first block is this run's.
function readoutCurves(readout, other) {
  const points = (curve) => ({ x: curve.correct.map((_, k) => k), y: curve.correct.map((hits) => (100 * hits) / curve.n), customdata: curve.correct.map((hits) => `${hits} of ${curve.n}`) });
  const line = (curve, name, tint, dash, symbol) => curve && curve.n > 0 && {
    ...points(curve), name, mode: "lines+markers", line: { color: colour(tint), width: 1.6, dash }, marker: { color: colour(tint), symbol, size: 5 },
    hovertemplate: `after %{x}: %{y:.1f} %, %{customdata}<extra>${name}</extra>`,
  };
  return {
    data: [line(readout.all, "this run", "--cold", "solid", "circle"), line(readout.right, "proposal right", "--kept", "dot", "triangle-up"),
      line(readout.wrong, "proposal wrong", "--undone", "dot", "triangle-down"), line(other?.all, "beside", "--soft", "dash", "square")].filter(Boolean),
    layout: {
      margin: { l: 50, r: 10, t: 34, b: 45 }, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      xaxis: { title: { text: "forwards run" }, rangemode: "tozero" }, yaxis: { range: [-3, 103], title: { text: "right when read out (%)" } },
    },
  };
}

// The share of injected tokens that stand on the final canvas, in bins of trust, right and wrong ones apart.
function survivalCurves(survival) {
  const name = (bin) => `≥ ${bin.low}`;
  const line = (bins, side, tint, symbol) => ({
    x: bins.map(name), y: bins.map((bin) => (bin.n ? 100 * bin.same : null)), name: `${side} (n = ${bins.reduce((sum, bin) => sum + bin.n, 0)})`, mode: "lines+markers", connectgaps: true,
    line: { color: colour(tint), width: 1.2 }, marker: { color: colour(tint), symbol, size: 8 },
    customdata: bins.map((bin) => [bin.n, percent(bin.kept)]), hovertemplate: "trust %{x}: %{y:.1f} % stand, %{customdata[1]} % never revoked, n = %{customdata[0]}<extra></extra>",
  });
  return {
    data: [line(survival.right, "right", "--kept", "circle"), line(survival.wrong, "wrong", "--undone", "square")],
    layout: {
      margin: { l: 50, r: 10, t: 34, b: 45 }, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      xaxis: { title: { text: "trust" }, type: "category", categoryorder: "array", categoryarray: survival.right.map(name) }, yaxis: { range: [-3, 103], title: { text: "stand in the end (%)" } },
    },
  };
}

// Claimed against true, with Wilson intervals where claims are independent (one per text); marks grow with the number of claims.
function reliability(parts) {
  const traces = parts.filter((part) => part.level).map(({ name, level, colour: c, symbol, independent }) => {
    const bins = level.bins.filter((bin) => bin.n > 0), most = Math.max(...bins.map((bin) => bin.n));
    const ends = bins.map((bin) => wilson(Math.round(bin.right * bin.n), bin.n));
    return {
      name: `${name}, ECE ${fixed(level.ece, 3)}`, x: bins.map((bin) => bin.mean), y: bins.map((bin) => bin.right), mode: "lines+markers",
      line: { color: colour(c), width: 1.2 }, marker: { color: colour(c), line: { width: 0 }, symbol, size: bins.map((bin) => 6 + 9 * Math.sqrt(bin.n / most)) },
      error_y: { visible: independent, type: "data", symmetric: false, width: 0, thickness: 1, color: colour(c), array: ends.map((e, i) => Math.max(0, e[1] - bins[i].right)), arrayminus: ends.map((e, i) => Math.max(0, bins[i].right - e[0])) },
      customdata: bins.map((bin) => bin.n), hovertemplate: "claimed %{x:.3f}, right %{y:.3f}, n = %{customdata}<extra></extra>",
    };
  });
  const diagonal = { x: [0, 1], y: [0, 1], mode: "lines", line: { color: colour("--soft"), width: 1, dash: "dot" }, hoverinfo: "skip", showlegend: false };
  return {
    data: [diagonal, ...traces],
    layout: {
      margin: { l: 50, r: 10, t: 34, b: 45 }, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      xaxis: { range: [-0.03, 1.03], title: { text: "probability given" } }, yaxis: { range: [-0.03, 1.03], title: { text: "share right" } },
    },
  };
}
