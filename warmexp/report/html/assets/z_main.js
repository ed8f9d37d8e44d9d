// The router: #/front, #/run/ID, #/compare/A/B, #/decode/RUN/QUESTION, #/words, each with what its view wants to remember behind a "?".

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
  if (state.group) query.set("questions", state.group + 1);
  if (state.filter) query.set("filter", state.filter);
  if (state.sort) query.set("sort", (state.sort.down ? "-" : "") + state.sort.name);
  if (state.near) query.set("near", 1);
  for (const [key, value] of Object.entries(state.facets)) if (value) query.set(key, value);
  const text = query.toString();
  history.replaceState(null, "", "#/front" + (text ? `?${text}` : ""));
}

// Take from the address what it says; a sentence about each thing that is not here.
function recall(query) {
  const problems = [];
  const known = ["x", "questions", "filter", "sort", "near"];
  if (core.axes.some((one) => one.key === query.x)) state.axis = query.x;
  else if (query.x) problems.push(`These runs have no axis "${query.x}".`);
  const asked = Number(query.questions) - 1;
  if (core.groups[asked]) state.group = asked;
  else if (query.questions) problems.push(`There are no questions number "${query.questions}".`);
  if (query.filter !== undefined) state.filter = query.filter;
  if (query.near) state.near = true;
  if (query.sort) {
    state.sort = { name: query.sort.replace(/^-/, ""), down: query.sort.startsWith("-") };
    if (!columns().some((column) => column.name === state.sort.name)) {
      problems.push(`There is no column "${state.sort.name}".`);
      state.sort = null;
    }
  }
  for (const key of core.varying) if (query[key] !== undefined) state.facets[key] = query[key];
  for (const key of Object.keys(query)) if (!known.includes(key) && !core.varying.includes(key)) problems.push(`"${key}" is no setting that varies here.`);
  return problems.length ? h("p", { class: "notice missing" }, problems.join(" ")) : null;
}

async function show() {
  const { view, parts, query } = place(), main = document.getElementById("main"), mine = ++turn;
  if (leave) leave();
  leave = null;
  const fresh = h("div", {});
  document.body.dataset.view = view;
  forgetCharts();
  document.querySelectorAll("nav a").forEach((link) => (link.dataset.view === view ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current")));
  main.replaceChildren(fresh);
  try {
    if (!core.runs.length) fresh.append(h("h1", {}, core.title), h("p", {}, "There are no finished runs here."), leftOut() || "");
    else if (view === "run") await runView(fresh, parts[0], query);
    else if (view === "compare") await compareView(fresh, parts[0], parts[1], query);
    else if (view === "decode") await decodeView(fresh, parts[0], parts[1], query);
    else if (view === "words") wordsView(fresh);
    else frontView(fresh, [view === "front" ? null : missing("page", view, "the front"), recall(query)]);
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
  completeSeeds();
  state.axis = core.x;
  state.intervals = core.runs.length <= 400;
  startTheme(redrawCharts);
  document.getElementById("footer").textContent = `Made by warmexp ${core.warmexp}. Everything shown is in this file; it makes no requests.`;
  addEventListener("hashchange", show);
  await show();
}

// Plotly's script follows this one.
document.addEventListener("DOMContentLoaded", begin);
