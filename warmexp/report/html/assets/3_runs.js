// The runs as the views see them: the front's numbers on an axis, names, and a run's own block of data.

let core = null;
const state = { axis: null, group: 0, filter: "", facets: {}, sort: null, intervals: true, near: false, all: false, quality: "rate" };

const axis = () => core.axes.find((one) => one.key === state.axis) || core.axes[0];
const group = () => axis().groups[state.group];
const runById = (id) => core.runs.find((run) => run.run_id === id) || core.seeds.find((seed) => seed.run_id === id || seed.run === id);
const onAxis = (run, ax = axis()) => ax.runs[run.run_id] || run.axes?.[ax.key] || null;

// A run that is several seeds' mean has their decodes and no other; a seed is a run of its own, but on no front.
const seedsOf = (run) => core.seeds.filter((seed) => seed.point === run.run_id);
const leaf = (run) => seedsOf(run)[0] || run;
const runBlock = (run) => { const one = leaf(run); return load(known(one.seed) ? `seed-${core.seeds.indexOf(one)}` : `run-${core.runs.indexOf(one)}`); };

// A seed has what its point has, besides what was measured with it.
function completeSeeds() {
  for (const seed of core.seeds) {
    const point = core.runs.find((run) => run.run_id === seed.point);
    const { set, group, method, proposer, oracle, settings, n, label } = point;
    Object.assign(seed, { set, group, method, proposer, oracle, settings, n, label: `${label.replace(/, \d+ seeds$/, "")}, seed ${seed.seed}`, is_baseline: point.is_baseline });
  }
}

const ofSeed = (run) => (seedsOf(run).length ? h("p", { class: "hint" }, `${run.label} is the mean of ${seedsOf(run).length} seeds; shown is `, h("b", {}, `seed ${leaf(run).seed}`), ".") : null);
const setBlock = (run) => load(`set-${run.set}`);
const href = (...parts) => "#/" + parts.map(encodeURIComponent).join("/");

// The runs on the chosen questions: the others are not compared with them.
const groupRuns = () => core.runs.filter((run) => run.group === state.group);
const differingKeys = () => { const runs = groupRuns(); return core.varying.filter((key) => new Set(runs.map((run) => setting(run, key))).size > 1); };

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

const runOptions = (decoded = false) => core.runs.flatMap((run) => (decoded && seedsOf(run).length ? seedsOf(run) : [run, ...seedsOf(run)])).map((run) => [run.run_id, run.label, [core.groups.length > 1 ? core.groups[run.group].name : "", run.run_id].filter(Boolean).join(" · ")]);

// What the address asked for and is not here; the view goes on with another one.
const missing = (what, asked, instead) => (asked && asked !== instead ? h("p", { class: "notice missing" }, `There is no ${what} "${asked}" in this report${instead ? `; this is ${instead}` : ""}.`) : null);

const BOUNDS = { at_least: "≥ ", at_most: "≤ " };
const savedText = (saved, digits) => (saved ? (BOUNDS[saved.bound] || "") + signed(saved.saved, digits) : NONE);
const shareText = (saved) => (known(saved?.saved_share) ? (BOUNDS[saved.bound] || "") + signed(100 * saved.saved_share, 0) : NONE);
const countDigits = (ax) => (["nfe", "token_forwards", "all_token_forwards"].includes(ax.key) ? 0 : ax.digits); // of a median, which is one question's
