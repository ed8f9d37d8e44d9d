// What is typed above the table. A word must begin a word of a run's name or of its settings; -word must not. A comparison, nfe<5 or
// rho=0.5, is about a column or a setting. One about the axis that is shown (saved>1) is tied to that axis when another is chosen (nfe:saved>1).

const GREEK = { "ρ": "rho", "λ": "lambda", "τ": "tau", "lam": "lambda" };
const plain = (name) => { const low = name.toLowerCase().replace(/\s+/g, ""); return GREEK[low] || low; };
const OPERATORS = /^(-?)([^<>=!]+)(<=|>=|!=|=|<|>)(.*)$/;

function filterWords(text) {
  const tight = text.replace(/≤/g, "<=").replace(/≥/g, ">=").replace(/≠/g, "!=").replace(/\s*(<=|>=|!=|=|<|>)\s*/g, "$1");
  return tight.match(/-?"[^"]*"|\S+/g) || [];
}

// name -> column, for every axis: those of the shown one by their own names too.
function filterColumns() {
  const found = new Map();
  const add = (name, column) => { if (name && !found.has(plain(name))) found.set(plain(name), column); };
  for (const column of columns()) {
    [column.alias, column.name, column.facet, column.facet?.replace(/^choices\./, "")].forEach((name) => add(name, column));
  }
  for (const ax of core.axes) for (const column of columns(ax)) {
    if (column.cost) [ax.key, costName(ax)].forEach((name) => add(name, column));
    if (column.bound) [column.alias, column.name].forEach((name) => name && add(`${ax.key}:${name}`, column));
  }
  return found;
}

// The filter as a function of a run, and what could not be understood in it.
function understood(text = state.filter) {
  const named = filterColumns(), tests = [], problems = [];
  for (const word of filterWords(text)) {
    const [, not, name, sign, value] = OPERATORS.exec(word) || [];
    if (!name) {
      const bare = word.replace(/^-/, "").replace(/"/g, "").toLowerCase();
      if (bare) tests.push((run) => begins(run, bare) !== word.startsWith("-"));
      continue;
    }
    const column = named.get(plain(name));
    if (!column) problems.push(`There is no column or varying setting "${name}".`);
    else if (value === "") problems.push(`${name}${sign} what?`);
    else if (/[<>]/.test(sign) && Number.isNaN(number(value))) problems.push(`${value} is not a number.`);
    else tests.push((run) => compares(run, column, sign, value) !== (not === "-"));
  }
  return { test: (run) => tests.every((one) => one(run)), problems };
}

const number = (text) => (text.trim() === "" ? NaN : Number(text.replace("−", "-").replace(/%$/, "")));

function begins(run, word) {
  const said = [run.label, run.run_id, run.method, run.proposer, ...core.varying.map((key) => setting(run, key))].join(" ").toLowerCase();
  for (let i = said.indexOf(word); i >= 0; i = said.indexOf(word, i + 1)) if (i === 0 || !/[\p{L}\p{N}]/u.test(said[i - 1]) || !/[\p{L}\p{N}]/u.test(word[0])) return true;
  return false;
}

function compares(run, column, sign, asked) {
  const value = column.value(run), wanted = number(asked);
  const mine = column.scale && known(value) ? column.scale * value : value;
  if (sign === "=" || sign === "!=") {
    const same = asked.split(",").some((one) => equal(mine, one, column, run));
    return same === (sign === "=");
  }
  if (!known(mine) || mine === "" || Number.isNaN(Number(mine))) return false;
  const left = Number(mine);
  return sign === "<" ? left < wanted : sign === ">" ? left > wanted : sign === "<=" ? left <= wanted : left >= wanted;
}

// A measured number equals what it is shown as, a setting itself.
function equal(mine, asked, column, run) {
  const word = asked.replace(/"/g, "").toLowerCase(), wanted = number(asked);
  if (!known(mine)) return [NONE, "none", "null", "-"].includes(word);
  if (typeof mine === "number" && !Number.isNaN(wanted)) return known(column.digits) ? Number(rounded(mine, column.digits)) === wanted : mine === wanted;
  const text = column.text(run);
  return String(mine).toLowerCase() === word || (typeof text === "string" && text.toLowerCase() === word);
}

// The same filter with everything that is about the shown axis tied to it by name.
function boundFilter() {
  const named = filterColumns();
  return filterWords(state.filter).map((word) => {
    const [, not, name] = OPERATORS.exec(word) || [];
    const column = name && named.get(plain(name));
    return column?.bound && !name.includes(":") ? `${not}${axis().key}:${word.slice(not.length)}` : word;
  }).join(" ");
}
