// The page's ground: elements, numbers, the embedded data, the theme. Text from runs is only ever set as text, never as markup.

function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, v] of Object.entries(value)) element.style.setProperty(key, v);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  return put(element, ...children);
}

// Append what there is: nothing for null, lists flattened, strings as text.
function put(element, ...children) {
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const NONE = "–";
const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);
const fixed = (value, digits) => (known(value) ? value.toFixed(digits).replace("-", "−") : NONE);
const signed = (value, digits) => (known(value) ? (value > 0 ? "+" : "") + fixed(value, digits) : NONE);
const percent = (value, digits = 1) => (known(value) ? fixed(100 * value, digits) : NONE);
const pValue = (p) => (!known(p) ? NONE : p < 0.0001 ? "< 0.0001" : p.toFixed(p < 0.001 ? 4 : 3));
const interval = (pair, digits, scale = 1) => (pair ? `[${pair.map((v) => (known(v) ? fixed(scale * v, digits) : "?")).join(", ")}]` : "");

// A block of data is gzipped JSON in base64 and unpacked when it is first needed.
const unpacked = new Map();

function load(id) {
  if (!unpacked.has(id)) unpacked.set(id, unpack(document.getElementById(id)));
  return unpacked.get(id);
}

async function unpack(element) {
  if (!element) return null;
  const bytes = Uint8Array.from(atob(element.textContent.trim()), (character) => character.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

const dark = () => document.documentElement.dataset.theme === "dark";
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function startTheme(redraw) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try { chosen = localStorage.getItem("warmexp-theme"); } catch { /* a page without storage */ }
  const apply = () => { document.documentElement.dataset.theme = chosen || (system.matches ? "dark" : "light"); };
  apply();
  system.addEventListener("change", () => { apply(); redraw(); });
  document.getElementById("theme").addEventListener("click", () => {
    chosen = dark() ? "light" : "dark";
    try { localStorage.setItem("warmexp-theme", chosen); } catch { /* a page without storage */ }
    apply();
    redraw();
  });
}

function segmented(label, options, current, choose) {
  const buttons = options.map(([value, text]) =>
    h("button", { type: "button", "aria-pressed": String(value === current), "data-value": value, onclick: () => choose(value) }, text));
  return h("div", { class: "segmented", role: "group", "aria-label": label }, buttons);
}

function picker(label, options, current, choose) {
  const select = h("select", { "aria-label": label, onchange: (event) => choose(event.target.value) },
    options.map(([value, text]) => h("option", { value, selected: value === current }, text)));
  return h("label", {}, label, select);
}

function facts(rows) {
  return h("table", { class: "facts" }, h("tbody", {}, rows.filter(Boolean).map(([name, value, extra]) =>
    h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value, extra ? h("span", { class: "ci" }, extra) : null)))));
}
