// The router: #/front, #/run/ID, #/compare/A/B, #/decode/RUN/QUESTION, each with what its view wants to remember behind a "?".

let leave = null;
let turn = 0;

function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
  return { view: parts[0] || "front", parts: parts.slice(1), query: Object.fromEntries(new URLSearchParams(query || "")) };
}

// Write what the front's view shows into its address, so that it can be passed on.
function remember() {
  if (place().view !== "front") return;
  const query = new URLSearchParams();
  if (axis().key !== core.x) query.set("x", axis().key);
  if (state.filter) query.set("filter", state.filter);
  if (state.sort) query.set("sort", (state.sort.down ? "-" : "") + state.sort.name);
  for (const [key, value] of Object.entries(state.facets)) if (value) query.set(key, value);
  const text = query.toString();
  history.replaceState(null, "", "#/front" + (text ? `?${text}` : ""));
}

function recall(query) {
  if (core.axes.some((one) => one.key === query.x)) state.axis = query.x;
  if (query.filter !== undefined) state.filter = query.filter;
  if (query.sort) state.sort = { name: query.sort.replace(/^-/, ""), down: query.sort.startsWith("-") };
  for (const key of core.varying) if (query[key] !== undefined) state.facets[key] = query[key];
}

async function show() {
  const { view, parts, query } = place(), main = document.getElementById("main"), mine = ++turn;
  if (leave) leave();
  leave = null;
  const fresh = h("div", {});
  forgetCharts();
  document.querySelectorAll("nav a").forEach((link) => (link.dataset.view === view ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current")));
  main.replaceChildren(fresh);
  try {
    if (!core.runs.length) fresh.append(h("h1", {}, core.title), h("p", {}, "There are no finished runs here."), leftOut() || "");
    else if (view === "run") await runView(fresh, parts[0], query);
    else if (view === "compare") await compareView(fresh, parts[0], parts[1], query);
    else if (view === "decode") await decodeView(fresh, parts[0], parts[1], query);
    else { recall(query); frontView(fresh); }
    if (mine === turn) document.body.dataset.ready = view;
  } catch (error) {
    fresh.append(h("p", { class: "notice" }, `This view cannot be shown: ${error.message}`));
    throw error;
  }
}

async function begin() {
  const main = document.getElementById("main");
  if (typeof DecompressionStream === "undefined") {
    main.replaceChildren(h("p", { class: "notice" }, "This browser cannot unpack the report's data: one from 2023 or later can."));
    return;
  }
  core = await load("core");
  state.axis = core.x;
  state.intervals = core.runs.length <= 400;
  startTheme(redrawCharts);
  document.getElementById("footer").textContent = `Made by warmexp ${core.warmexp}. Everything shown is in this file; it makes no requests.`;
  addEventListener("hashchange", show);
  await show();
}

// Plotly's script follows this one.
document.addEventListener("DOMContentLoaded", begin);
