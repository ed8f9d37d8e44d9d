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

// As Python writes it, so that a number is the same here and in the terminal: what lies exactly between two is rounded to the even one.
function rounded(value, digits) {
  const text = value.toFixed(digits), exact = value.toFixed(digits + 40);
  if (!/^50*$/.test(exact.slice(exact.length - 40))) return text;
  const down = digits ? exact.slice(0, exact.length - 40) : exact.slice(0, exact.length - 41);
  return Number(down.at(-1)) % 2 ? text : down;
}

const unsigned = (text) => (Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−"));
const fixed = (value, digits) => (known(value) ? unsigned(rounded(value, digits)) : NONE);

function signed(value, digits) {
  const text = fixed(value, digits);
  return known(value) && value > 0 && Number(text) !== 0 ? `+${text}` : text;
}

const percent = (value, digits = 1) => (known(value) ? fixed(100 * value, digits) : NONE);
const pValue = (p) => (!known(p) ? NONE : p < 0.001 ? "< 0.001" : rounded(p, p < 0.1 ? 3 : 2));
const thousands = (n) => (known(n) ? n.toLocaleString("en") : NONE);

// A limit that is not there is one that nobody measured: the interval is open on that side.
function interval(pair, digits, scale = 1, write = fixed) {
  if (!pair) return "";
  const [low, high] = pair;
  return `${known(low) ? `[${write(scale * low, digits)}` : "(−∞"}, ${known(high) ? `${write(scale * high, digits)}]` : "∞)"}`;
}

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

// A box to look for words in: all of them, in any order, anywhere in a text.
const wordsOf = (typed) => typed.toLowerCase().split(/\s+/).filter(Boolean);
const hasWords = (words, ...texts) => { const said = texts.filter(known).join(" ").toLowerCase(); return words.every((word) => said.includes(word)); };
const searchBox = (label, changed, value = "") => h("input", { type: "search", class: "looking", "aria-label": label, placeholder: label, value, oninput: (event) => changed(event.target.value) });

// A file of what is shown, made here.
function save(name, content, type) {
  const link = h("a", { href: URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// Numbers are bare, texts are quoted, and what a spreadsheet would compute has an apostrophe before it, as in front.csv.
function csv(rows) {
  const cell = (value) => {
    if (!known(value)) return '""';
    if (typeof value === "number") return String(value);
    const text = String(value), formula = /^(?:\s*[=+\-@＝＋－＠|%]|[\t\r\n])/.test(text) && Number.isNaN(Number(text));
    return `"${(formula ? `'${text}` : text).replace(/"/g, '""')}"`;
  };
  return rows.map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

const saveButtons = (buttons) => h("div", { class: "save" }, buttons.map(([text, title, make]) => h("button", { type: "button", title, onclick: make }, text)));

async function savePicture(plot, name) {
  const layout = { ...plot.layout, paper_bgcolor: colour("--bg"), plot_bgcolor: colour("--bg"), autosize: false };
  const url = await Plotly.toImage({ data: plot.data, layout }, { format: "png", width: plot.offsetWidth, height: plot.offsetHeight, scale: 3 });
  const bytes = Uint8Array.from(atob(url.split(",")[1]), (character) => character.charCodeAt(0));
  save(name, new Blob([bytes], { type: "image/png" }));
}
