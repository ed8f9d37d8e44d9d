// The runs as the views see them: the front's numbers on an axis, names, and a run's own block of data.

let core = null;
const state = { axis: null, filter: "", facets: {}, sort: null, intervals: true, near: false, quality: "rate" };

const axis = () => core.axes.find((one) => one.key === state.axis) || core.axes[0];
const runById = (id) => core.runs.find((run) => run.run_id === id);
const onAxis = (run) => axis().runs[run.run_id] || null;
const runBlock = (run) => load(`run-${core.runs.indexOf(run)}`);
const setBlock = (run) => load(`set-${run.set}`);
const href = (...parts) => "#/" + parts.map(encodeURIComponent).join("/");

// The last part of a dotted key where that names it alone: choices.init is "init", init.rho is "rho".
function shortKey(key) {
  const last = key.split(".").pop();
  return core.varying.filter((other) => other.split(".").pop() === last).length > 1 ? key.replace(/^choices\./, "") : last;
}

function setting(run, key) {
  const value = run.settings[key];
  return value === null || value === undefined ? NONE : String(value);
}

const baselineOf = (run) => {
  const paired = onAxis(run)?.paired;
  return paired ? runById(paired.baseline) : null;
};

// Another run to look at beside this one: its baseline, or else the nearest neighbour in the list.
const companion = (run) => baselineOf(run) || core.runs.find((other) => other !== run && other.set === run.set) || core.runs.find((other) => other !== run) || null;

const runOptions = () => core.runs.map((run) => [run.run_id, run.label]);

function savedText(saved, digits) {
  if (!saved) return NONE;
  const bound = { at_least: "≥ ", at_most: "≤ " }[saved.bound] || "";
  return bound + fixed(saved.saved, digits);
}
